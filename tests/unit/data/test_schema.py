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


def _build(tmp_path: Path, text: str) -> tuple[Outer | None, list[str]]:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    problems: list[str] = []
    value, place = read_yaml(path, problems)
    return build(Outer, value, place, problems), problems


def test_every_type_is_read(tmp_path: Path) -> None:
    text = "name: n\nmode: b\nnames: [x, y]\nparts: {train: {images: 3, share: 1}}\nnote: null\nflag: true\n"
    built, problems = _build(tmp_path, text)
    assert problems == []
    assert built == Outer("n", "b", ("x", "y"), {"train": Inner(3, 1.0)}, None, True)


def test_one_value_stands_for_a_list_of_one(tmp_path: Path) -> None:
    built, _ = _build(tmp_path, "name: n\nnames: x\n")
    assert built is not None
    assert built.names == ("x",)


def test_all_faults_come_at_once_with_file_line_and_key(tmp_path: Path) -> None:
    text = """\
mode: c
names: [x, 2]
parts:
  train: {images: many}
  test: {imags: 3}
note: [1]
flag: 1
falg: true
"""
    built, problems = _build(tmp_path, text)
    assert built is None
    assert problems == [
        "x.yaml:8: falg: unknown key – did you mean 'flag'?",
        "x.yaml: name: this key is missing",
        "x.yaml:1: mode: 'c' is none of a, b",
        "x.yaml:2: names.1: expected text, got 2; put it in quotes",
        "x.yaml:4: parts.train.images: expected a whole number, got 'many'",
        "x.yaml:5: parts.test.imags: unknown key – did you mean 'images'?",
        "x.yaml: parts.test.images: this key is missing",
        "x.yaml:6: note: expected text or null, got a list",
        "x.yaml:7: flag: expected true or false, got 1",
    ]


def test_true_is_not_a_number(tmp_path: Path) -> None:
    _, problems = _build(tmp_path, "name: n\nparts: {train: {images: true}}\n")
    assert problems == ["x.yaml:2: parts.train.images: expected a whole number, got True"]


def test_a_repeated_key_is_a_fault(tmp_path: Path) -> None:
    _, problems = _build(tmp_path, "name: n\nname: m\n")
    assert problems == ["x.yaml:2: name: given twice"]


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n"])
def test_something_else_than_keys_is_a_fault(tmp_path: Path, text: str) -> None:
    _, problems = _build(tmp_path, text)
    assert len(problems) == 1
    assert "x.yaml: expected keys and values" in problems[0]


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.yaml:3: not valid YAML"):
        _build(tmp_path, "name: n\nnames: [x\nmode: a\n")


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not valid YAML: could not determine a constructor"):
        _build(tmp_path, "name: !!python/object/apply:os.getcwd []\n")
