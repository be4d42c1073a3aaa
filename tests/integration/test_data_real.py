"""Real data sets, counted without our own readers. Skipped where the data are not at hand."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hierfit.cli import main
from hierfit.data.card import load_card
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.data.samples import Table
from hierfit.data.table import read_table
from hierfit.results.card import ResultCard

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("HIERFIT_SHARED", ROOT.parent / "shared/data"))
GROCERY = SHARED / "grocery_store"
FEATURES = SHARED / "clip_features"

needs_grocery = pytest.mark.skipif(not GROCERY.is_dir(), reason="no grocery_store data set here")
needs_features = pytest.mark.skipif(not FEATURES.is_dir(), reason="no clip_features here")


@pytest.fixture(scope="module")
def grocery() -> Table:
    return read_table(load_card("grocery_store"), GROCERY)


@needs_grocery
@pytest.mark.parametrize(("split", "count"), [("train", 2640), ("val", 296), ("test", 2485)])
def test_grocery_labels_equal_an_independent_count(grocery: Table, split: str, count: int) -> None:
    """By plain text work on the set's own files: department is a folder, coarse and fine are numbers."""
    lines = (GROCERY / f"dataset/{split}.txt").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split(",")] for line in lines]
    names = {}
    for line in (GROCERY / "dataset/classes.csv").read_text().splitlines()[1:]:
        fine, number, coarse, coarse_number = line.split(",")[:4]
        names[number] = (fine, coarse, coarse_number)
    expected = Counter()
    for path, number, coarse_number in rows:
        fine, coarse, its_number = names[number]
        assert coarse_number == its_number
        expected[f"{path.split('/')[1]}/{coarse}/{fine}"] += 1
    tree, images = grocery.taxonomy, grocery.images
    assert tree.level_sizes == (3, 43, 81)
    assert len(grocery.splits[split]) == count
    assert images is not None
    assert min(images.load(grocery.splits[split].keys[0]).size) >= 300
    found = Counter(tree.full_name(node) for node in grocery.splits[split].nodes.tolist())
    assert found == expected
    paths = tree.paths(grocery.splits[split].nodes)
    by_department = Counter(path.split("/")[1] for path, *_ in rows)
    assert Counter(tree.names[node] for node in paths[:, 0].tolist()) == by_department


@needs_features
def test_caltech_zero_shot_is_as_published() -> None:
    data = HierarchicalDataModule("caltech101_features", str(FEATURES / "caltech101_vitb32.safetensors"))
    task = data.task
    assert task.text_source == "bundle"
    assert task.train_paths.shape == (960, 3)
    features, paths = (torch.cat(parts) for parts in list(zip(*data.test_dataloader(), strict=True))[:2])
    leaves = task.taxonomy.leaves
    predicted = leaves[(features @ task.text[leaves].T).argmax(-1)]
    accuracy = (predicted == paths[:, -1]).double().mean()
    assert f"{100 * accuracy:.2f}" == "95.63"


@needs_features
def test_aircraft_starts_from_class_means() -> None:
    data = HierarchicalDataModule("fgvc_features", str(FEATURES / "fgvc_aircraft_vitb32.safetensors"), shots=4)
    assert data.task.text_source == "class means"
    assert data.task.taxonomy.level_sizes == (30, 70, 100)
    torch.testing.assert_close(data.task.text.norm(dim=-1), torch.ones(200))
    assert data.summary()["images"] == {"train": 400, "val": 400, "test": 3333}


@needs_grocery
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
