"""Runs ended by ``kill -9`` at random moments, against ones that nobody touched: ``python tests/bench/bench_kills.py``.

Each round runs a command to its end, and again into another folder with kills at random moments until it ends by
itself; then every byte that should agree is compared. Two commands: LatHAdapter on cached features of the drawn
butterflies with a control, and HierLoRA on a few of their pictures, with augmentation, dropout and two loading
processes. Also: what saving costs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
NOT_COMPARED = {"dirpath", "best_model_path", "best_k_models", "last_model_path", "kth_best_model_path",
                "WriteResultCard"}  # fmt: skip
"""Where a run lies, and times."""


def run(arguments: Sequence[str], log: Path, kill_when: Callable[[float], bool] = lambda seconds: False) -> int:
    """Runs ``hierfit`` in a child that is forked, so that nothing is imported again, and may kill it.

    Args:
        arguments: Of the command line.
        log: Collects what it prints.
        kill_when: From the seconds it has run to whether it is time.

    Returns:
        The exit code; minus the number of the signal that ended it.
    """
    if (child := os.fork()) == 0:
        code = 1
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            sys.stdout = sys.stderr = log.open("a", buffering=1, encoding="utf-8")
            from hierfit.cli import main

            main(arguments)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    started = time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if kill_when(time.monotonic() - started):
            os.kill(child, signal.SIGKILL)
            kill_when = lambda seconds: False  # noqa: E731
        time.sleep(0.002)


def differences(one: Path, other: Path) -> list[str]:
    """Where two finished runs differ: curves, cards, logits, and everything in their checkpoints."""
    names, others = (_names(folder) for folder in (one, other))
    found = [f"files: {names ^ others}"] if names != others else []
    for name in sorted(names & others):
        if name.endswith("metrics.csv"):
            pair = [{"": (folder / name).read_bytes()} for folder in (one, other)]
        elif name.endswith("result.json"):
            pair = [json.loads((folder / name).read_text()) for folder in (one, other)]
            pair = [{**card, "cost": card["cost"]["steps"], "versions": None} for card in pair]
        elif name.endswith(".safetensors"):
            pair = [load_file(folder / name) for folder in (one, other)]
        elif name.endswith(".ckpt"):
            pair = [torch.load(folder / name, weights_only=True) for folder in (one, other)]
        else:
            continue
        found += [f"{name} {key}".rstrip() for key in pair[0] if not _same(pair[0][key], pair[1].get(key))]
    return found


def _names(folder: Path) -> set[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {name for path in files if "wandb" not in (name := path.relative_to(folder).as_posix())}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a.keys() - NOT_COMPARED)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def command(name: str, folder: Path, *options: str) -> list[str]:
    """A short run of an experiment."""
    configs = [f"--config={EXPERIMENTS / 'base.yaml'}", f"--config={EXPERIMENTS / name}.yaml"]
    return ["fit", *configs, f"--runs={folder}", "--wandb=disabled", "--save_every=0.2", *options]


COMMANDS = {
    "lathadapter_fewshot": ["--trainer.max_steps=120", "--trainer.val_check_interval=40",
                            '--controls={"no hierarchy": {"model.hierarchy_weight": 0}}'],
    "hier_lora": ["--controls=null", "--trainer.max_steps=14", "--trainer.val_check_interval=7", "--data.shots=1",
                  "--data.batch_size=16", "--data.num_workers=2", "--data.val_shots=coop", "--data.augment=crop_flip"],
}  # fmt: skip


def only(runs: Path) -> Path:
    """The one folder of a run."""
    (found,) = runs.glob("*/*/config.yaml")
    return found.parent


def main() -> None:
    """Prints a line a run and a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    import hierfit.run.train  # noqa: F401  (once, before the forks)

    chance = random.Random(options.seed)
    print(f"{'command':24} {'killed after, s':32} ended as the untouched run")
    total = same = 0
    for name, extra in COMMANDS.items():
        with tempfile.TemporaryDirectory() as scratch:
            place, log = Path(scratch), Path(scratch) / "log"
            run(command(name, place / "warm", *extra), log)  # fills the cache
            started = time.monotonic()
            assert run(command(name, place / "whole", *extra), log) == 0, log.read_text()
            whole = time.monotonic() - started
            kills = rounds = 0
            while kills < options.kills:
                runs, moments, rounds = place / f"killed{rounds}", list[float](), rounds + 1
                while True:
                    moment = chance.uniform(0.1, 0.9) * whole if kills < options.kills else float("inf")
                    if (code := run(command(name, runs, *extra), log, moment.__le__)) == 0:
                        break
                    assert code == -signal.SIGKILL, log.read_text()
                    kills += 1
                    moments.append(moment)
                wrong = differences(only(place / "whole"), only(runs))
                total, same = total + len(moments), same + (len(moments) if not wrong else 0)
                print(f"{name:24} {', '.join(f'{m:.1f}' for m in moments) or '–':32} {wrong or 'yes'}")
    print(f"\n{same} of {total} kills left no trace")
    cost_of_saving()


def cost_of_saving() -> None:
    """Seconds of the same run with and without saving after every step, in turn."""
    with tempfile.TemporaryDirectory() as scratch:
        place, name = Path(scratch), "lathadapter_fewshot"
        extra = ("--trainer.max_steps=100", "--controls=null", "--trainer.val_check_interval=100")
        seconds: dict[str, list[float]] = {"null": [], "30": [], "0": []}
        for number in range(3):
            for every, found in seconds.items():
                runs = place / f"{every}-{number}"
                run([*command(name, runs, *extra), f"--save_every={every}"], place / "log")
                found.append(json.loads((only(runs) / "result.json").read_text())["cost"]["train_seconds"])
        never, usual, always = (statistics.median(values) for values in seconds.values())
        print(f"a save of LatHAdapter on fieldguide: {1000 * (always - never) / 100:.1f} ms")
        print(f"100 steps: {never:.2f} s without saving, {usual:.2f} s as usual, {always:.2f} s saving after each step")


if __name__ == "__main__":
    main()
