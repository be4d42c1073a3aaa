"""Pixels to table on real pictures: FPA, TICE and levels of the grocery store set against a count of our own."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from safetensors.torch import load_file

from hierfit.cli import main
from hierfit.data.card import load_card
from hierfit.results.card import ResultCard

ROOT = Path(__file__).parents[2]
GROCERY = Path(os.environ.get("HIERFIT_SHARED", ROOT.parent / "shared" / "data")) / "grocery_store"


@pytest.mark.skipif(not GROCERY.is_dir(), reason="the grocery store set is not here")
def test_the_table_of_real_pictures_is_counted_right(tmp_path: Path) -> None:
    main(
        [
            "fit",
            f"--config={ROOT / 'experiments' / 'base.yaml'}",
            "--model=hierfit.methods.ZeroShot",
            "--data.card=grocery_store",
            f"--data.root={GROCERY}",
            "--data.shots=1",
            f"--data.cache_dir={tmp_path / 'cache'}",
            f"--folder={tmp_path / 'run'}",
            "--wandb=disabled",
            "--trainer.accelerator=cpu",
        ]
    )
    card = ResultCard.read(tmp_path / "run")

    # The truth, read without hierfit: fine class numbers of test.txt, names of classes.csv, departments of the tree.
    with (GROCERY / "dataset" / "classes.csv").open() as file:
        classes = list(csv.DictReader(file))
    departments = {
        leaf: path[-1] for leaf, path in json.loads((GROCERY / "hierarchy.json").read_text())["leaf_to_path"].items()
    }
    triples = [
        (departments[c["Class Name (str)"]], c["Coarse Class Name (str)"], c["Class Name (str)"]) for c in classes
    ]
    lines = (GROCERY / "dataset" / "test.txt").read_text().split("\n")
    truth = [triples[int(line.split(",")[1])] for line in lines if line.strip()]

    tree = load_card("grocery_store").taxonomy
    assert tree is not None
    logits = load_file(tmp_path / "run" / "test_logits.safetensors")["logits"].tolist()
    guesses = []
    for row in logits:
        best = [max(range(s.start, s.stop), key=row.__getitem__) for s in tree.level_slices]
        guesses.append(tuple(tree.names[v] for v in best))

    samples = len(truth)
    assert len(guesses) == samples == 2485
    raw = card.metrics["per_level"]
    for level, name in enumerate(("department", "coarse", "class")):
        right = sum(g[level] == t[level] for g, t in zip(guesses, truth, strict=True))
        assert raw[f"accuracy/{name}"] == pytest.approx(right / samples, abs=1e-6)
    assert raw["fpa"] == pytest.approx(sum(g == t for g, t in zip(guesses, truth, strict=True)) / samples, abs=1e-6)
    assert raw["tice"] == pytest.approx(sum(g not in set(triples) for g in guesses) / samples, abs=1e-6)
