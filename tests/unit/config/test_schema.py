"""Dataclasses out of YAML: every type, every fault at once with its place, and files that are meant to harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from hierfit.config.schema import build, read_yaml
from hierfit.errors import UserError


@dataclass(frozen=True)
class Inner:
    images: int
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    mode: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ()
    parts: Mapping[str, Inner] = field(default_factory=dict)
    note: str | None = None
    flag: bool = False


def built(tmp_path: Path, text: str) -> tuple[Outer | None, list[str]]:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    problems: list[str] = []
    value, place = read_yaml(path, problems)
    return build(Outer, value, place, problems), problems


def test_every_type_is_read(tmp_path: Path) -> None:
    text = "name: n\nmode: b\nnames: [x, y]\nparts: {train: {images: 3, share: 1}}\nnote: null\nflag: true\n"
    assert built(tmp_path, text) == (Outer("n", "b", ("x", "y"), {"train": Inner(3, 1.0)}, None, True), [])
    assert built(tmp_path, "name: n\nnames: x\n") == (Outer("n", names=("x",)), [])  # one value, for a list of one


def test_all_faults_come_at_once_with_file_line_and_key(tmp_path: Path) -> None:
    text = """\
mode: c
names: [x, 2]
parts:
  train: {images: many}
  test: {imags: 3}
  val: {images: true}
note: [1]
flag: 1
falg: true
flag: 1
"""
    assert built(tmp_path, text) == (
        None,
        [
            "x.yaml:10: flag: given twice",
            "x.yaml:9: falg: unknown key – did you mean 'flag'?",
            "x.yaml: name: this key is missing",
            "x.yaml:1: mode: 'c' is none of a, b",
            "x.yaml:2: names.1: expected text, got 2; put it in quotes",
            "x.yaml:4: parts.train.images: expected a whole number, got 'many'",
            "x.yaml:5: parts.test.imags: unknown key – did you mean 'images'?",
            "x.yaml: parts.test.images: this key is missing",
            "x.yaml:6: parts.val.images: expected a whole number, got True",
            "x.yaml:7: note: expected text or null, got a list",
            "x.yaml:10: flag: expected true or false, got 1",
        ],
    )


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n"])
def test_something_else_than_keys_is_a_fault(tmp_path: Path, text: str) -> None:
    (problem,) = built(tmp_path, text)[1]
    assert "x.yaml: expected keys and values" in problem


ALIASES = "".join(f"c{i}: &b{i + 1} [*b{i}, *b{i}]\n" for i in range(40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: n\nnames: [x\nmode: a\n", r"x\.yaml:3: not valid YAML"),
        ("name: !!python/object/apply:os.getcwd []\n", "not valid YAML: could not determine a constructor"),
        (f"a: &b0 [x, x]\n{ALIASES}", "more than a million values"),
        ("a: &a\n  b: *a\n", "a value contains itself"),
        ("&a [*a]", "a value contains itself"),
        ("[" * 500, "nested too deep"),
        ("{a: " * 500, "nested too deep"),
        ("a: " + "9" * 5000, "not valid YAML"),
    ],
)
def test_broken_and_hostile_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        built(tmp_path, text)


def test_some_aliases_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*{f'b{i - 1}' if i else 'a'}, *a]\n" for i in range(5)))
    assert read_yaml(path, [])[0]["b0"] == [["x", "x"], ["x", "x"]]
