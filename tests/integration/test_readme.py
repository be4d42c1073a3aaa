"""What the README files say is run: code and commands as they stand there, and every command against its own parser."""

from __future__ import annotations

import argparse
import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from hierfit import cli
from hierfit.data.card import load_card
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.run.configure import configure

from .conftest import Shop, budget

ROOT = Path(__file__).parents[2]
WRITTEN = ("commands.md", "keys.md")
"""Pages that docs/conf.py writes."""
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "hierfit").rglob("README.md") if "tiny_clip" not in page.parts),
    *sorted((ROOT / "data_cards").glob("README.md")),
    *sorted((ROOT / "experiments").rglob("README.md")),
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in WRITTEN),
]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_OURS = re.compile(r"(?:^|.*/)hierfit$")
_IN_REPOSITORY = re.compile(r"(experiments|data_cards|hierfit|tests)/\S*")
_PLACEHOLDER = re.compile(r"[A-Z]{2,}|…|\.\.\.|<")
# What may stand in an example and is there in every shell.
_TOOLS = {
    "cd", "ls", "find", "git", "pip", "python", "python3", "export", "hf", "wget", "tar", "open", "echo", "cat",
    "sbatch", "srun", "torchrun", "wandb", "for", "do", "done",
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """One command of a page, with its place."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {self.text[:60]}"


def fences(page: Path, language: str) -> list[tuple[int, str]]:
    """Line and content of the code of a language."""
    text = page.read_text(encoding="utf-8")
    return [
        (text[: found.start(2)].count("\n") + 1, found[2]) for found in _FENCE.finditer(text) if found[1] == language
    ]


def commands(page: Path) -> list[Command]:
    """Every command of the ``sh`` fences; lines that end in a backslash go on, what follows a pipe is its own."""
    found = []
    for start, content in [*fences(page, "sh"), *fences(page, "bash")]:
        pending, first = "", 0
        for number, line in enumerate(content.splitlines(), start):
            first = first if pending else number
            pending += line.rstrip()
            if pending.endswith("\\"):
                pending = pending[:-1]
                continue
            words = shlex.split(pending, comments=True)
            pending = ""
            parts: list[list[str]] = [[]]
            for word in words:
                if word in ("|", "&&", ";", "||", "&"):
                    parts.append([])
                else:
                    parts[-1].append(word)
            where = str(page.relative_to(ROOT))
            found += [Command(where, first, shlex.join(part)) for part in parts if part]
    return found


COMMANDS = [command for page in PAGES for command in commands(page)]


class Parsed(Exception):  # noqa: N818 (no error)
    """A parser was content."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands stop when their parser is content."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, args: list[str] | None = None, namespace: object = None) -> None:
        parse(self, args, namespace)  # type: ignore[call-overload]
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
@pytest.mark.usefixtures("parse_only")
def test_every_command_is_one(command: Command, shop: Shop) -> None:
    words = shlex.split(command.text)
    while words and re.fullmatch(r"[A-Za-z_]+=.*", words[0]):  # VARIABLE=value before a command
        words = words[1:]
    if not words:
        return
    check_files(command, words)
    if words[0] == "make":
        for line in made(words):
            check_hierfit(line, shop)
    elif _OURS.match(words[0]):
        check_hierfit(words[1:], shop)
    elif words[:3] == ["python", "-m", "hierfit"]:
        check_hierfit(words[3:], shop)
    else:
        assert words[0] in _TOOLS or shutil.which(words[0]), f"{command}: there is no {words[0]}"


def check_files(command: Command, words: list[str]) -> None:
    """Files of the repository that a command names are there."""
    for word in words:
        for found in _IN_REPOSITORY.finditer(word):
            if found.start() and word[found.start() - 1] not in "=/ '\"":
                continue
            name = found[0].rstrip("'\",")
            if not _PLACEHOLDER.search(name) and "*" not in name and found.start() == 0:
                assert (ROOT / name).exists(), f"{command}: there is no {name}"


def made(words: list[str]) -> list[list[str]]:
    """What hierfit is asked to do by a make target, by make's own account."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    dry = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert dry.returncode == 0, dry.stderr
    lines = [shlex.split(line) for line in dry.stdout.replace("\\\n", " ").splitlines() if "/bin/hierfit " in line]
    assert not any("There is no" in line for line in dry.stdout.splitlines() if line.startswith("echo")), dry.stdout
    return [line[1:] for line in lines if _OURS.match(line[0])]


def check_hierfit(words: list[str], shop: Shop) -> None:
    """Flags, keys and types of a command are known to it."""
    words = [word.replace("RUN", str(shop.run)) if not word.startswith("--") else word for word in words]
    name, rest = words[0], words[1:]
    if name in ("-h", "--help", "--version") or rest in (["--help"], ["-h"]):
        assert name in cli.COMMANDS or name in cli.TRAINING or name.startswith("-")
        return
    if name in cli.COMMANDS and not cli._is_training(name, rest):
        with pytest.raises(Parsed):
            cli.dispatch(words)
    else:
        assert name in cli.TRAINING or name == "predict", f"there is no command {name}"
        settings = [word for word in rest if word != "--print_config"]
        own = [word for word in settings if "linear_map" not in word]  # a file that the page itself has one write
        if own == settings:
            configure([str(ROOT / w) if w.startswith("experiments/") else w for w in settings], name)


@pytest.mark.parametrize(
    "text",
    [
        "make trian EXP=lathadapter_fewshot",
        "make train EXP=lathadapter_fewshoot",
        'make train EXP=lathadapter_fewshot ARGS="--data.shot 4"',
        "make grid GRID=none",
        ".venv/bin/hierfit resluts RUN",
        ".venv/bin/hierfit predict RUN IMAGE --to 3",
        ".venv/bin/hierfit fit --config experiments/none.yaml",
        ".venv/bin/hierfit fit --config experiments/base.yaml --model.lr x --model LinearProbe",
        "no-such-program-at-all RUN",
    ],
)
@pytest.mark.usefixtures("parse_only")
def test_a_command_that_is_none_would_be_found(text: str, shop: Shop) -> None:
    with pytest.raises((AssertionError, UserError, SystemExit)):
        test_every_command_is_one(Command("page", 1, text), shop)


def test_the_start_runs_and_its_results_are_read_as_shown(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """What one does with a finished run: those commands of the README that take no time, for real."""
    quick = {"results", "compare", "rescore", "predict", "export"}
    filled = {
        "RUN": str(shop.run),
        "RUN/controls/zero-shot": str(shop.run / "controls" / "zero-shot"),
        "runs/…": str(shop.run),
        "RUN…": str(shop.run),
        "OUT": str(shop.folder / "exported"),
        "IMAGE…": str(shop.picture),
        "IMAGE": str(shop.picture),
    }
    ran = set()
    for command in commands(ROOT / "README.md"):
        words = shlex.split(command.text)
        if not _OURS.match(words[0]) or words[1] not in quick or "--config" in words:
            continue
        arguments = [filled.get(word, word) for word in words[1:]]
        # photo.jpg and the like are the reader's own; what an option says may be, too.
        named = [word for before, word in pairwise(words[1:]) if not before.startswith("-") and word[0] != "-"]
        if any(word not in filled for word in named):
            continue
        cli.main(arguments)
        assert capsys.readouterr().out, command
        ran.add(words[1])
    assert ran


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own folder, from which hierfit is called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    return tmp_path


def lines_of(code: str) -> int:
    """Lines that are not blank."""
    return sum(bool(line.strip()) for line in code.splitlines())


def test_a_method_of_ones_own(at_home: Path, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    page = ROOT / "hierfit" / "methods" / "README.md"
    ((_, code),) = fences(page, "python")
    assert lines_of(code) <= 20
    (at_home / "linear_map.py").write_text(code, encoding="utf-8")
    (command,) = commands(page)
    arguments = shlex.split(command.text)[1:]
    try:
        cli.main([*arguments, *budget(shop.folder, shop.folder / "small.yaml"), f"--folder={at_home / 'run'}"])
    finally:
        sys.modules.pop("linear_map", None)
    assert "LinearMap" in capsys.readouterr().out
    # What the head says is what the method said: the page's algebra is right.
    from safetensors.torch import load_file

    import hierfit
    from hierfit.data.choice import Choice
    from hierfit.data.prepare import Towers, prepare

    kept = load_file(at_home / "run" / "test_logits.safetensors")["logits"]
    model = hierfit.load(at_home / "run")
    card = load_card(str(shop.folder / "small.yaml"))
    towers = Towers("tiny", cache_dir=str(shop.folder / "cache"))
    test = prepare(card, read_table(card, None), Choice(shots=4, seed=1), towers).splits["test"]
    assert test.features is not None
    assert (model.logits(test.features) - kept).abs().max() < 1e-4


def test_a_data_set_of_ones_own(at_home: Path, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    page = ROOT / "hierfit" / "data" / "README.md"
    ((_, tree),), ((_, card),) = fences(page, "csv"), fences(page, "yaml")
    assert lines_of(tree) + lines_of(card) <= 20
    (at_home / "birds.csv").write_text(tree, encoding="utf-8")
    (at_home / "birds.yaml").write_text(card, encoding="utf-8")
    small = read_table(load_card(str(shop.folder / "small.yaml")), None)
    assert small.images is not None
    for split, count in {"train": 4, "val": 1, "test": 1}.items():
        keys = iter(small.splits[split].keys)
        for row in tree.splitlines()[1:]:
            folder = at_home / "PICTURES" / split / Path(*row.split(","))
            folder.mkdir(parents=True)
            for number in range(count):
                small.images.load(next(keys)).save(folder / f"{number}.png")
    check, fit = (shlex.split(command.text)[1:] for command in commands(page))
    features = [shlex.split(command.text)[1:] for command in commands(ROOT / "hierfit" / "tools" / "README.md")]
    cli.main(check)
    cli.main([*fit, *budget(shop.folder, at_home / "birds.yaml"), "--controls=null", f"--folder={at_home / 'run'}"])
    printed = capsys.readouterr().out
    assert "birds" in printed
    assert "species" in printed
    for command in features:
        if "SHARDS" not in command and "labels.csv" not in command:
            cli.main(command)
    assert {path.name for path in (at_home / "FOLDER").glob("t*.csv")} == {"train.csv", "test.csv", "text.csv"}


def test_a_loop_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    ((_, code),) = fences(ROOT / "hierfit" / "losses" / "README.md", "python")
    assert lines_of(code) <= 30
    exec(compile(code, "README.md", "exec"), {"__name__": "loop"})
    share = float(capsys.readouterr().out.rpartition(":")[2].rstrip(" %\n"))
    assert share > 85


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name == "docs" and ">>>" in page.read_text("utf-8")], ids=str
)
def test_what_a_page_types_into_python_gives_what_it_shows(page: Path, at_home: Path, shop: Shop) -> None:
    given = {
        "run": str(shop.run),
        "picture": str(shop.picture),
        "quiet": {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"},
        "folder": [f"--folder={at_home / 'run'}", "--controls=null"],
    }
    assert doctest.testfile(str(page), module_relative=False, globs=given).failed == 0


def test_links_lead_somewhere() -> None:
    missing = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target and target not in WRITTEN and not (page.parent / target).exists():
                missing.append(f"{page.relative_to(ROOT)}: {target}")
    assert not missing
