"""Real data sets, counted without our own readers. Skipped where the data are not at hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from hierfit.data.card import load_card
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.data.samples import Table
from hierfit.data.table import read_table

SHARED = Path(__file__).parents[3] / "shared/data"
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
