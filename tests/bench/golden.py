"""What the cheap runs give, to the bit: ``make golden`` writes it down, ``--check`` holds a change to it.

For work that is to change nothing but the code: figures of result cards (without times), hashes of test logits and of
the selected weights, of what is predicted and exported. Bits hold on one machine, with one number of threads, only; so
the file is made before the work, where the work is done, and is not kept in the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from hierfit.cli import main as hierfit
from hierfit.results.card import ResultCard

ROOT = Path(__file__).parents[2]
EXPERIMENTS = (
    "lathadapter_fewshot",
    "lathadapter_base2novel",
    "lathadapter_novel_siblings",
    "lathadapter_coarse_to_fine",
    "lathadapter_cross_dataset",
    "lathadapter_tree",
    "tree_gda_fewshot",
)
STEPS = 40  # enough for every part to have its say
GRID = """
name: golden
configs: [{root}/experiments/base.yaml]
set: {{trainer.max_steps: {steps}, trainer.val_check_interval: 20}}
cards: {{fieldguide: }}
methods:
  zero-shot: {{model: ZeroShot}}
  Tip-Adapter-F: {{model: TipAdapterF}}
  leaves: {{model: LinearProbe, model.objective: {{leaf_ce: 1}}}}
shots: [1]
seeds: [1, 2]
"""


def tensors(named: Mapping[str, Any]) -> str:
    """A hash of tensors by name."""
    found = hashlib.sha256()
    for name in sorted(named):
        if isinstance(named[name], torch.Tensor):
            found.update(name.encode() + named[name].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def facts(run: Path) -> dict[str, Any]:
    """Of a run's folder: all figures, and hashes of what it left."""
    card = ResultCard.read(run)
    found: dict[str, Any] = {"metrics": card.metrics, "val": card.val, "belief": card.belief}
    found["logits"] = tensors(load_file(run / "test_logits.safetensors"))
    if (selected := run / "checkpoints" / "selected.ckpt").is_file():
        found["weights"] = tensors(torch.load(selected, weights_only=True)["state_dict"])
    for kept in sorted((run / "predictor").glob("*.safetensors")):
        found[f"predictor/{kept.name}"] = tensors(load_file(kept))
    return found


def runs(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of every run below a folder, its controls and targets among them, in order."""
    for card in sorted(folder.rglob("result.json")):
        run = card.parent
        # The time and the digest in a run's name are no result.
        parts = [part.split("-s")[0] if part[:8].isdigit() else part for part in run.relative_to(folder).parts]
        yield "/".join(parts), run


def measure(folder: Path) -> dict[str, Any]:
    """Runs everything and collects what it gives."""
    found: dict[str, Any] = {}
    for name in EXPERIMENTS:
        for seed in (1, 2):
            place = folder / f"{name}-{seed}"
            files = [f"--config={ROOT}/experiments/{file}.yaml" for file in ("base", name)]
            steps = [f"--trainer.max_steps={STEPS}", "--trainer.val_check_interval=20", "--wandb=disabled"]
            hierfit(["fit", *files, *steps, f"--seed_everything={seed}", f"--folder={place}"])
            found |= {f"{name} {seed} {where}": facts(run) for where, run in runs(place)}
    grid = folder / "golden.yaml"
    grid.write_text(GRID.format(root=ROOT, steps=STEPS))
    hierfit(["grid", str(grid), f"--runs={folder / 'grid'}", "--jobs=1"])
    found |= {f"grid {where}": facts(run) for where, run in runs(folder / "grid")}
    model, exported = folder / f"{EXPERIMENTS[0]}-1", folder / "export"
    hierfit(["export", str(model), str(exported), "--no-towers"])
    found["export"] = {path.name: tensors(load_file(path)) for path in sorted(exported.glob("*.safetensors"))}
    for path in (exported / "taxonomy.csv", exported / "predictor.json"):
        found["export"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found


def main() -> None:
    """Writes the file, or compares with it and exits with 1 where something is another."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--file", type=Path, default=ROOT / "golden.json", help="where it is kept (golden.json)")
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = json.loads(json.dumps(measure(Path(folder))))
    if not options.check:
        options.file.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{len(found)} entries written to {options.file}")
        return
    kept, found = (
        {re.sub(r"(/\d+-s\d+)-[0-9a-f]{8}$", r"\1", name): of_run for name, of_run in entries.items()}  # no digest
        for entries in (json.loads(options.file.read_text()), found)
    )
    other = [name for name in sorted({*kept, *found}) if kept.get(name) != found.get(name)]
    for name in other:
        before, now = kept.get(name) or {}, found.get(name) or {}
        keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        print(f"{name}: {', '.join(keys)}")
    print(f"{len(kept) - len(other)} of {len(kept)} entries equal")
    sys.exit(1 if other else 0)


if __name__ == "__main__":
    main()
