"""What the room's README shows is what happens."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import hierfit.taxonomy
from hierfit.cli import main
from hierfit.taxonomy import read_taxonomy
from hierfit.taxonomy.readers import FORMATS, Reading, read_given

README = Path(hierfit.taxonomy.__file__).with_name("README.md")
TEXT = README.read_text(encoding="utf-8")
SECTIONS = re.findall(r"^### (.*?)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
EXAMPLES = [
    (re.findall(r"`([a-z-]+)`", title.split(":")[0]), language, example)
    for title, body in SECTIONS
    for language, example in re.findall(r"```(\w+)\n(.*?)```", body, re.DOTALL)
]
SUFFIXES = {"text": "txt", "python": "py", "newick": "nwk"}


@pytest.mark.parametrize(("formats", "language", "example"), EXAMPLES)
def test_examples_are_read_as_their_heading_says(
    tmp_path: Path, formats: list[str], language: str, example: str
) -> None:
    path = tmp_path / f"example.{SUFFIXES.get(language, language)}"
    path.write_text(example, encoding="utf-8")
    assert read_given(Reading(str(path))).format in formats
    assert read_taxonomy(path).num_leaves >= 1
    assert example.count("\n") <= 3


def test_every_format_has_an_example() -> None:
    assert {name for formats, _, _ in EXAMPLES for name in formats} == set(FORMATS)


def test_the_doctors_report_is_verbatim(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(README.parents[2])
    monkeypatch.setenv("COLUMNS", "80")
    command, report = re.search(r"```\n\$ hierfit (.*?)\n(.*?)```", TEXT, re.DOTALL).groups()  # type: ignore[union-attr]
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    assert caught.value.code == 1
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == report.splitlines()


def test_the_node_axis() -> None:
    assert doctest.testfile(str(README), module_relative=False).failed == 0
