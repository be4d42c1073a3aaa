"""Each format as it is found in the wild, recognised by its content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy, read_taxonomy
from hierfit.taxonomy.readers import Reading, read_given

ANIMALS = Taxonomy.from_paths(
    [("birds", "gulls", "herring gull"), ("birds", "gulls", "kittiwake"), ("birds", "auks", "puffin"),
     ("mammals", "cats", "lion"), ("mammals", "cats", "tiger")]
)  # fmt: skip

ROWS = [["herring gull", "gulls", "birds"], ["kittiwake", "gulls", "birds"], ["puffin", "auks", "birds"],
        ["lion", "cats", "mammals"], ["tiger", "cats", "mammals"]]  # fmt: skip


def shape(tree: Taxonomy) -> set[str]:
    return {tree.full_name(node) for node in range(tree.num_nodes)}


def write(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("columns", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("form", ["trees.py", "a.json", "a.csv"])
def test_index_tuples_in_any_column_order(tmp_path: Path, base: int, columns: tuple[int, ...], form: str) -> None:
    names = [["birds", "mammals"], ["gulls", "auks", "cats"], [row[0] for row in ROWS]]
    numbers = [[lists.index(name) + base for lists, name in zip(names, row[::-1], strict=True)] for row in ROWS]
    rows = [[row[c] for c in columns] for row in numbers]
    text = {
        "trees.py": "import os\nLEVELS = ['order']\ntrees = [\n" + ",\n".join(map(str, rows)) + ",\n]\n",
        "a.json": json.dumps(rows),
        "a.csv": "x,y,z\n" + "\n".join(",".join(map(str, row)) for row in rows),
    }[form]
    path = write(tmp_path, form, text)
    files = [str(write(tmp_path, f"{i}.txt", "\n".join(lists))) for i, lists in enumerate(names)]
    tree = read_taxonomy(path, names=tuple(files), levels=("class", "family", "species"))
    assert shape(tree) == shape(ANIMALS)
    assert tree.levels == ("class", "family", "species")
    assert read_taxonomy(path).names[:2] == (f"level0 {base}", f"level0 {base + 1}")


def test_seven_ranks_and_epithets_that_repeat(tmp_path: Path) -> None:
    ranks = ["kingdom", "phylum", "class", "order", "family", "genus"]
    above = ["Animalia", "Chordata", "Aves", "Charadriiformes", "Laridae"]
    species = [("Larus", "minutus"), ("Rissa", "minutus"), ("Rissa", "tridactyla")]
    records = [
        {"id": i, "specific_epithet": e, **dict(zip(ranks, [*above, g], strict=True)), "species": e}
        for i, (g, e) in enumerate(species)
    ]
    expected = {"Larus/Larus minutus", "Rissa/Rissa minutus", "Rissa/Rissa tridactyla"}
    as_json = read_taxonomy(write(tmp_path, "categories.json", {"categories": records, "images": [1]}))
    table = "species,genus,id,family,order,class,phylum,kingdom\n"
    table += "\n".join(f"{e},{g},{i},{','.join(above[::-1])}" for i, (g, e) in enumerate(species))
    as_csv = read_taxonomy(write(tmp_path, "taxa.csv", table))
    for tree in (as_json, as_csv):
        assert tree.levels == (*ranks, "species")
        assert {tree.full_name(v).split("/Laridae/")[1] for v in tree.leaves.tolist()} == expected


def test_wordnet_ids_with_names_and_leaves(tmp_path: Path) -> None:
    links = ["n00000001 n00000002", "n00000002 n00000003", "n00000002 n00000004", "n00000001 n00000005"]
    path = write(tmp_path, "wordnet.is_a.txt", "\n".join([*links, "n00000005 n00000004"]))
    write(tmp_path, "words.txt", "\n".join(f"n0000000{i}\tname {i}, synonym" for i in range(1, 7)))
    with pytest.raises(UserError, match="'n00000004' has several parents: 'n00000002'"):
        read_taxonomy(path)
    tree = read_taxonomy(path, parents="first")
    assert shape(tree) == {
        "name 1", "name 1/name 2", "name 1/name 2/name 3", "name 1/name 2/name 4", "name 1/name 5"
    }  # fmt: skip
    leaves = write(tmp_path, "leaves.txt", "n00000003\n")
    assert shape(read_taxonomy(path, leaves=str(leaves))) == {"name 1", "name 1/name 2", "name 1/name 2/name 3"}


def message(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_taxonomy(path, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.json", '{"a": [{"x": null},\n"x"],\n "b": [1, true]}', "2 children of 'a' are named 'x': line 1, line 2"),
        ("a.json", '{"a": [{"x": null}],\n "b": [1, true]}', "True is not a name"),
        ("a.json", '{"a": {"x": null},\n "a": {"y": null}}', "2 roots are named 'a': line 1, line 2"),
        ("a.json", '{"a": [1,\n 2', "line 2, column 3: not valid JSON"),
        ("a.json", "[" * 5000, "nested too deep"),
        ("a.yaml", "a: [b\nc: d", "a.yaml:2: not valid YAML"),
        ("a.yaml", "a: &x [b]\nc: *x", "a.yaml:1: anchors and aliases"),
        ("a.nwk", "((a,b)c;", "line 1, column 1: 1 brackets are not closed"),
        ("a.nwk", "(a,b)c", "the ';' that ends a tree is missing"),
        ("a.nwk", "(a,'b)c;", "line 1, column 4: a quotation mark or bracket that is not closed"),
        ("a.txt", "a\n├── b\n    c\n", "line 3: 'c' is indented by blanks alone, in a tree with lines drawn"),
        ("a.txt", "a\n    b\n  c\n", "line 3: 'c' is indented by 2, unlike all lines above it"),
        ("a.txt", "art, gattung\nx, y\nz, y\n", "line 1 may name the columns or be data: 'art', 'gattung'"),
        ("a.txt", "", "the file is empty"),
        ("a.txt", "# a comment\n\n", "there are only comments"),
        ("a.txt", "a\0b", "line 1 holds a zero byte"),
        ("a.xml", "<!>" * 99, "not valid XML"),  # nor does it take for ever
        ("a.csv", "child,parent\na,b\nb,a\n", "cycle, each the child of the next: 'a' (line 2) → 'b' (line 3) → 'a'"),
        ("trees.py", "trees = [[1, 1], [2, 1],\n[3]]", "line 2: expected 2 whole numbers, got 3"),
        ("a.json", '{"nodes": [{"id": 1}],\n "links": [{"source": 1, "target":\n"b"}]}', "line 3 (record 1)"),
    ],
)  # fmt: skip
def test_faults_have_their_place(tmp_path: Path, name: str, content: str, fault: str) -> None:
    text = message(write(tmp_path, name, content))
    assert text.startswith(str(tmp_path / name))
    assert fault in text


@pytest.mark.parametrize(
    ("name", "content", "choices"),
    [
        ("a.txt", "herring gull\nivory gull\nsooty tern\n", ["list", "child-parent", "parent-child"]),
        ("a.json", '[["a", "x"], ["b", "y"]]', ["paths", "leaf-first"]),
        ("a.txt", "a b\nb c\nc d\n", ["child-parent", "parent-child"]),
        ("a.json", '{"a": ["x", "y"], "b": ["y", "z"], "c": ["q", "x"]}', ["super-sub", "ancestors"]),
    ],
)
def test_what_is_not_certain_is_asked_for(tmp_path: Path, name: str, content: str, choices: list[str]) -> None:
    path = write(tmp_path, name, content)
    text = message(path)
    assert "its format is not certain" in text
    for choice in choices:
        assert f"--format {choice}: " in text
        read_given(Reading(str(path), choice))  # type: ignore[arg-type]


def test_data_cards_read_as_they_always_did() -> None:
    for path in sorted((Path(__file__).parents[3] / "data_cards").glob("*.csv")):
        assert read_taxonomy(path) == Taxonomy.from_csv(path), path.name
