"""Every fault of a tree is named, all faults at once."""

from __future__ import annotations

from typing import Any

import pytest

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy


def problems_of(*args: Any, build: Any = Taxonomy.from_paths) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        build(*args)
    return caught.value.problems


def link_problems(*args: Any) -> tuple[str, ...]:
    return problems_of(*args, build=Taxonomy.from_parents)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (["a", "", "c"], "rows[1]: gap before 'c': only cells at the end of a row may be empty"),
        (["", "b"], "rows[1]: gap before 'b': only cells at the end of a row may be empty"),
        ([], "rows[1]: the row holds no name"),
        (["", ""], "rows[1]: the row holds no name"),
        ("abc", "rows[1]: a row must be a list of names, not the text 'abc'"),
        (["a", 3], "rows[1]: the name 3 is not text but int"),
        (["a", " b"], "rows[1]: the name ' b' begins or ends with a blank"),
        (["a", "b\u00a0"], "rows[1]: the name 'b\\xa0' begins or ends with a blank"),
        (
            ["a", "b\tc"],
            "rows[1]: the name 'b\\tc' holds a line break or another character that cannot be seen",
        ),
        (["x", "y"], "x / y: the same leaf is given 2 times: rows[0], rows[1]"),
        (["x"], "x: a leaf in rows[1], but it has children (rows[0])"),
        (["x", "y", "z"], "x / y: a leaf in rows[0], but it has children (rows[1])"),
    ],
)
def test_one_faulty_row(row: Any, problem: str) -> None:
    assert problems_of([["x", "y"], row]) == (problem,)


def test_all_faults_of_the_rows_come_at_once() -> None:
    rows: list[Any] = [["x", "y"], ["x", "y"], ["x"], ["a", "", "c"], [], ["b "], ["x", "y"]]
    with pytest.raises(UserError) as caught:
        Taxonomy.from_paths(rows, ["one", "", "one", "n;a"])
    assert caught.value.problems == (
        "rows[3]: gap before 'c': only cells at the end of a row may be empty",
        "rows[4]: the row holds no name",
        "rows[5]: the name 'b ' begins or ends with a blank",
        "x / y: the same leaf is given 3 times: rows[0], rows[1], rows[6]",
        "x: a leaf in rows[2], but it has children (rows[0])",
        "level 2: the name is empty",
        "the level name 'n;a' holds a separator: columns are divided by commas",
        "the level name 'one' is given twice",
    )
    assert str(caught.value).startswith("rows: 8 problems in the tree\n  - rows[3]: gap")
    assert str(caught.value).endswith("Give one row for each leaf, its names coarse to fine.")


@pytest.mark.parametrize(
    ("levels", "problem"),
    [
        (["one"], "the tree is 2 levels deep, but 1 level names are given"),
        ([], "the tree is 2 levels deep, but 0 level names are given"),
        (["a", "b", "c"], "no node lies in level 'c': the deepest leaf is at level 2 of 3"),
        ("ab", "level names must be a list of names, not the text 'ab'"),
        (["a", 2], "level 2: the name 2 is not text but int"),
        (
            ["Name", "parent"],
            "the level names 'name', 'parent' are kept for the header of a table of parent links",
        ),
    ],
)
def test_level_names(levels: Any, problem: str) -> None:
    assert problems_of([["x", "y"]], levels) == (problem,)


def test_there_must_be_a_node() -> None:
    assert problems_of([]) == ("there is no node",)
    assert link_problems([], []) == ("there is no node",)


def test_cycles_name_the_nodes_along_them() -> None:
    assert link_problems(list("abcdef"), ["b", "c", "a", None, "e", "a"]) == (
        "cycle, each the child of the next: 'a' (names[0]) → 'b' (names[1]) → 'c' (names[2]) → 'a'",
        "cycle, each the child of the next: 'e' (names[4]) → 'e'",
    )
    (long,) = link_problems([f"n{i}" for i in range(1000)], [(i + 1) % 1000 for i in range(1000)])
    assert long.endswith("'n11' (names[11]) → … 988 more → 'n0'")


def test_links_by_name() -> None:
    assert link_problems(["root", "a", "a", "b", "b", "c"], [None, "root", "b", "root", "root", "rot"]) == (
        "'a' has several parents: 'root' (names[1]), 'b' (names[2])",
        "'b' is listed 2 times, with the parent 'root' (names[3]), 'root' (names[4])",
        "names[5]: the parent 'rot' of 'c' is not among the names, did you mean 'root'?",
    )
    assert link_problems(["a", "b", "a"], [None, "a", "b"]) == (
        "'a' has several parents: none (names[0]), 'b' (names[2]); its children: 'b'",
    )


def test_links_by_position() -> None:
    assert link_problems(["a", "b", "a", "b", "c"], [None, 0, None, 0, 9]) == (
        "names[4]: the parent of 'c' is 9, not a position among 5 names",
        "2 roots are named 'a': names[0], names[2]",
        "2 children of 'a' are named 'b': names[1], names[3]",
    )
    assert link_problems(["a", "b"], [None, -2]) == ("names[1]: the parent of 'b' is -2, not a position among 2 names",)
    assert link_problems(["a", "b"], [None]) == ("2 names, but 1 parents",)
    assert link_problems(["a", "b", ""], [None, "a", 0]) == (
        "names[2]: the name is empty",
        "names[2]: the parent 0 of '' is not among the names",
    )
