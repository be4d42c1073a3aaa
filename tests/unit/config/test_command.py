"""A typed function as a command: what its signature takes, and what is said of words that do not fit it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from hierfit.config.command import Say, call
from hierfit.errors import UserError

given: dict[str, Any] = {}


def command(
    runs: Annotated[list[Path], Say("run folders", "RUN")],
    *,
    out: Annotated[Path | None, Say("where to")] = None,
    seeds: Annotated[list[int], Say("100 % of the seeds")] = [1],  # noqa: B006 (never changed)
    decoder: Annotated[list[str], Say("repeatable", repeat=True)] = [],  # noqa: B006
    form: Annotated[Literal["table", "csv"], Say("of the table")] = "table",
    dry_run: Annotated[bool, Say("only say what would be done")] = False,
) -> None:
    """Looks at runs.

    Raises:
        UserError: Never.
    """
    given.update(runs=runs, out=out, seeds=seeds, decoder=decoder, form=form, dry_run=dry_run)


def test_words_become_typed_arguments() -> None:
    call(
        command, ["a", "b", "--seeds", "1", "2", "--dry-run", "--decoder=x", "--decoder", "y", "--form", "csv"], "look"
    )
    assert given == {
        "runs": [Path("a"), Path("b")],
        "out": None,
        "seeds": [1, 2],
        "decoder": ["x", "y"],
        "form": "csv",
        "dry_run": True,
    }
    call(command, ["a", "--out=b.md"], "look")
    assert (given["out"], given["seeds"], given["dry_run"]) == (Path("b.md"), [1], False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required: RUN"),
        (["a", "--see", "1"], "Did you mean --seeds?"),
        (["a", "--seeds", "x"], "invalid int value: 'x'"),
        (["a", "--form", "pdf"], "choose from"),
    ],
)
def test_words_that_do_not_fit(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=r"hierfit look: ") as caught:
        call(command, words, "look")
    assert said in str(caught.value)


def test_the_docstring_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call(command, ["--help"], "look")
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "Looks at runs." in shown
    assert "100 % of the seeds" in shown
    assert "UserError" not in shown
