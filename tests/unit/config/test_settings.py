"""Files and options, one setting after the other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt

from hierfit.config.settings import option_value, read_settings, settings_by


@pytest.mark.parametrize(
    ("text", "value"),
    [("-2:", "-2:"), ("2:10", "2:10"), ("-2..", "-2.."), ("{a: 1}", {"a": 1}), ("1e-3", 1e-3), ("", ""), ("[", "[")],
)
def test_what_the_text_of_an_option_means(text: str, value: object) -> None:
    assert option_value(text) == value


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("2024", str, "2024"),
        ("null", str | None, None),
        ("true", Literal["true", "flat"], "true"),
        ("2", list[int] | str | int, 2),
        ("1", float, 1.0),
        ("${a.b}", int, "${a.b}"),
        ("{a: 1, b: 2}", dict[str, float], {"a": 1.0, "b": 2.0}),
        ("[q, k]", list[str], ["q", "k"]),
    ],
)
def test_an_option_is_meant_as_its_type_wants(text: str, hint: Any, value: object) -> None:
    problems: list[str] = []
    assert (
        replace(settings_by("command line", {"key": option_value(text)})[0], text=text).converted(hint, problems)
        == value
    )
    assert not problems


@pytest.mark.parametrize(
    ("value", "hint", "fault"),
    [
        (2024, str | None, "expected text or null, got 2024; put it in quotes"),
        ("1e-4", float, "expected a number, got '1e-4'; YAML reads that as text, write 0.0001"),
        ("x", int | float | None, "expected a whole number or a number or null, got 'x'"),
        ("c", Literal["a", "b"] | None, "'c' is none of a, b"),
        (1, bool, "expected true or false, got 1"),
        ("x", Annotated[int, Ge(1)] | None, "expected a whole number or null, got 'x'"),
        (3, list[int], "expected a list, got 3"),
        ([1, "x"], list[int], "expected a whole number, got 'x'"),
        ({"a": "x"}, dict[str, float] | None, "expected a number, got 'x'"),
    ],
)
def test_what_does_not_fit_is_said(value: object, hint: Any, fault: str) -> None:
    problems: list[str] = []
    settings_by("file.yaml:3", {"key": value})[0].converted(hint, problems)
    assert len(problems) == 1
    assert problems[0].startswith("file.yaml:3: key")
    assert problems[0].endswith(f": {fault}")


def test_settings_come_in_order_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("data:\n  shots: 3\nmodel:\n  init_args: {lr: 1}\n  class_path: M\nname: x\n")
    problems: list[str] = []
    words = [
        "--name",
        "y",
        f"--config={path}",
        *settings_by("grid.yaml:7", {"data": {"seed": 2}}),
        "--data.targets={a: 1}",
    ]
    found = list(read_settings([*words, "stray", "--row", "--test", f"--config={tmp_path}/none.yaml"], problems))
    assert [(s.key, s.value) for s in found] == [
        ("name", "y"),
        ("data.shots", 3),
        ("model.class_path", "M"),  # the keys of a class come after its name
        ("model.init_args.lr", 1),
        ("name", "x"),
        ("data.seed", 2),
        ("data.targets", {"a": 1}),
    ]
    assert [str(s.place) for s in found[:4]] == [
        "command line: name",
        "a.yaml:2: data.shots",
        "a.yaml:5: model.class_path",
        "a.yaml:4: model.init_args.lr",
    ]
    assert str(found[5].place) == "grid.yaml:7: data.seed"
    assert problems == [
        "command line: 'stray' is not an option; keys are set as --key=value",
        "command line: --row has no value",
        "command line: --test has no value",
        f"there is no file {tmp_path}/none.yaml",
    ]
    typed = [f"--{s.key}={s.value if isinstance(s.value, str) else json.dumps(s.value)}" for s in found]
    again = list(read_settings(typed, problems))
    assert {s.key: s.value for s in again} == {s.key: s.value for s in found}


@pytest.mark.parametrize(
    ("value", "hint", "words"),
    [
        (0, Annotated[float, Gt(0)], "positive"),
        (0, Annotated[int, Ge(1)] | None, "1 or more"),
        (0, Annotated[float, Gt(0)] | None, "positive"),
        (1.0, Annotated[float, Ge(0), Lt(1)], "in [0, 1)"),
        (2, Annotated[float, Gt(0), Le(1)], "in (0, 1]"),
    ],
)
def test_bounds_stand_at_the_type(value: float, hint: Any, words: str) -> None:
    problems: list[str] = []
    settings_by("file.yaml:3", {"key": value})[0].converted(hint, problems)
    settings_by("file.yaml:3", {"key": 0.5 if "int" not in str(hint) else 3})[0].converted(hint, problems)
    assert problems == [f"file.yaml:3: key: {value}, must be {words}"]
