"""`hierfit taxonomy` show and convert, as a user sees them."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hierfit.cli import main
from hierfit.taxonomy import Taxonomy, read_taxonomy

ROWS = [(f"order {i % 5}", f"family {i % 20}", f"species {i} of a & b") for i in range(200)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree.csv"
    Taxonomy.from_paths(ROWS, ["order", "family", "species"]).to_csv(path)
    return path


def test_show_draws_what_fits_and_says_what_is_left_out(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["taxonomy", "show", str(tree)])
    printed = capsys.readouterr().out
    assert printed.startswith("5 order · 20 family · 200 species\norder 0  40 leaves\n├── family 0  10 leaves\n")
    assert "species" not in printed.split("\n", 1)[1].split("1 more level below")[0]
    main(["taxonomy", "show", str(tree), "--below", "order 1/family 6", "--depth", "9"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["1 family · 10 species", "family 6  10 leaves"]
    assert lines[-1] == "└── species 186 of a & b"
    with pytest.raises(SystemExit):
        main(["taxonomy", "show", str(tree), "--below", "family 66"])
    assert "did you mean 'family 6'" in capsys.readouterr().err


def test_the_picture_holds_every_name_once_and_none_lies_on_another(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "tree.svg"
    main(["taxonomy", "show", str(tree), "--svg", str(out)])
    root = ElementTree.parse(out).getroot()
    texts = [element for element in root.iter() if element.tag.endswith("}text")]
    titles = [child.text for element in texts for child in element if child.tag.endswith("}title")]
    assert sorted(titles) == sorted(read_taxonomy(tree).names)  # type: ignore[type-var]
    columns: dict[str, list[float]] = {}
    for element in texts:
        columns.setdefault(element.attrib["x"], []).append(float(element.attrib["y"]))
    assert len(columns) == 3
    for heights in columns.values():
        heights.sort()
        assert min(b - a for a, b in pairwise(heights)) > 12
    assert max(max(h) for h in columns.values()) < float(root.attrib["height"])


@pytest.mark.parametrize("name", ["t.json", "t.nwk", "t.txt", "t.csv"])
def test_convert_by_the_suffix_and_back(tree: Path, tmp_path: Path, name: str) -> None:
    main(["taxonomy", "convert", str(tree), str(tmp_path / name)])
    back = read_taxonomy(tmp_path / name, levels=("order", "family", "species"))
    assert back == read_taxonomy(tree)


def test_convert_says_what_is_lost_and_what_cannot_be(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["taxonomy", "convert", str(tree), str(tmp_path / "t.nwk")])
    assert "newick has no room for level names: give --levels order,family,species" in capsys.readouterr().out
    for arguments, fault in (
        ([str(tmp_path / "t.xyz")], "its suffix names no format"),
        ([str(tmp_path / "no" / "t.csv"), "--select", "birds"], "select cannot be used with the format paths"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["taxonomy", "convert", str(tree), *arguments])
        assert caught.value.code == 2
        assert fault in capsys.readouterr().err
        assert not Path(arguments[0]).exists()


def test_check_show_and_convert_start_without_torch(tree: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom hierfit.cli import main\n"
        f"main(['taxonomy', 'check', {str(tree)!r}])\nmain(['taxonomy', 'show', {str(tree)!r}])\n"
        f"main(['taxonomy', 'convert', {str(tree)!r}, {str(tmp_path / 't.json')!r}])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
