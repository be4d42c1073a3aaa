"""CSV files as people and spreadsheets write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

BIRDS = Taxonomy.from_paths(
    [("gulls", "Larus", "Herring, gull"), ("gulls", "Rissa", 'the "kitti"'), ("auks",)],
    ["family", "genus", "species"],
)


def read(folder: Path, content: str | bytes) -> Taxonomy:
    path = folder / "birds.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Taxonomy.from_csv(path)


def message(folder: Path, content: str | bytes) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, content)
    return str(caught.value)


ROWS = 'family,genus,species\ngulls,Larus,"Herring, gull"\ngulls,Rissa,"the ""kitti"""\nauks,,\n'


@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        ROWS.replace("\n", "\r\n"),
        "\ufeff" + ROWS,
        ROWS.rstrip("\n"),
        ROWS.replace("auks,,", "auks"),
        ROWS.replace("auks,,", "auks,,,,"),
        ROWS.replace("species\n", "species,,\n\n"),
        ROWS.replace("gulls", '"gulls"'),
    ],
    ids=["plain", "CRLF", "BOM", "no last line end", "short row", "long row", "header cells", "quoted"],
)
def test_leaf_rows(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == BIRDS


def test_faults_of_leaf_rows_name_file_and_lines(tmp_path: Path) -> None:
    text = message(tmp_path, 'a,,b\nx,"y\nz",q\n\nx,y\nx,y\n,q\nu,v,w,more\nx\nk , l\n')
    assert text.splitlines() == [
        f"{tmp_path}/birds.csv: 7 problems in the tree",
        "  - line 8: 4 cells under a header of 3",
        "  - line 2: the name 'y\\nz' holds a line break or another character that cannot be seen",
        "  - line 7: gap before 'q': only cells at the end of a row may be empty",
        "  - line 10: the name 'k ' begins or ends with a blank",
        "  - line 10: the name ' l' begins or ends with a blank",
        "  - x / y: the same leaf is given 2 times: line 5, line 6",
        "  - level 2: the name is empty",
        "`hierfit taxonomy check FILE` reports everything about a tree, and mends some faults.",
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "the file is empty"),
        (",,\n", "there are only comments and blank lines"),
        ("a,b\n", "there is nothing below its header"),
        ("a,a\nx,y\n", "the level name 'a' is given twice"),
        ("a,b,c\nx,y\n", "no node lies in level 'c'"),
        ("name,parent\nx,,y\n", "line 2: 3 cells, expected a child and its parent"),
        ('a,b\nx,y\nx,"z\n', "line 3: unexpected end of data"),
        ("a,b\r\n鸟,鸟\r\n".encode("gbk"), "line 2 is neither UTF-8 nor Windows-1252"),
    ],
)
def test_trouble_with_the_file(tmp_path: Path, content: str | bytes, fault: str) -> None:
    text = message(tmp_path, content)
    assert text.startswith(f"{tmp_path}/birds.csv")
    assert fault in text
