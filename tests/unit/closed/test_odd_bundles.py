"""Closed forms on bundles as they come: ragged, without val or text, one image a class or none, wide, duplicates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn.functional import normalize

from hierfit.closed import Statistics, fit_tree, kinship_test
from hierfit.data.bundle import Bundle, BundleSplit, write_bundle
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.methods import KernelRidge, LatHAdapter, TreeGDA
from hierfit.taxonomy import Taxonomy

EVEN = [(f"a{i // 6}", f"b{i // 2}", f"c{i}") for i in range(12)]
RAGGED = [("a",), ("b", "b0"), ("b", "b1"), ("c", "c0", "x"), ("c", "c0", "y"), ("c", "c1", "x"), ("c", "c2")]
CHAINS = [(f"a{i}", f"b{i}", f"c{i}") for i in range(6)]
FLAT = [(f"c{i}",) for i in range(5)]
ODD: dict[str, dict[str, Any]] = {
    "even": {},
    "no val": {"val": False, "text": True},
    "ragged": {"paths": RAGGED, "text": True},
    "one leaf a parent": {"paths": CHAINS},
    "no tree": {"paths": FLAT, "each": 3},
    "one image a class, no val": {"paths": RAGGED, "each": 1, "val": False},
    "one image, one leaf a parent, wide": {"paths": CHAINS, "each": 1, "width": 200, "text": True},
    "wider than images": {"each": 2, "width": 200},
    "all images of a class alike": {"each": 4, "noise": 0.0},
    "the same, one of each": {"each": 1, "noise": 0.0, "text": True},
    "classes without images": {"each": [0, 3, 3, 0, 0, 5, 1, 2, 0, 3, 3, 3]},
    "the same beside text": {"paths": RAGGED, "each": [0, 3, 3, 0, 1, 5, 2], "text": True},
    "one class": {"paths": [("a", "x")], "each": 3},
    "two numbers": {"each": 4, "width": 2},
}
ROWS: list[tuple[Any, dict[str, Any]]] = [
    *((TreeGDA, {"prior": prior}) for prior in ("tree", "shuffled", "common", "flat")),
    (TreeGDA, {"text": "none", "use_val": False}),
    (TreeGDA, {"text": "none", "covariance": "total"}),
    (KernelRidge, {}),
    (LatHAdapter, {"whiten": True, "hierarchy_weight": 0}),
]


def task_data(
    folder: Path,
    paths: list[tuple[str, ...]] = EVEN,
    each: int | list[int] = 5,
    width: int = 24,
    noise: float = 0.5,
    text: bool = False,
    val: bool = True,
) -> HierarchicalDataModule:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(len(paths), width, generator=generator)

    def split(count: int | list[int]) -> BundleSplit:
        labels = torch.arange(len(paths)).repeat_interleave(torch.tensor(count))
        away = torch.randn(len(labels), width, generator=generator)
        return BundleSplit(normalize(means[labels] + noise * away, dim=1), labels)

    splits = {"train": split(each), "test": split(4), **({"val": split(1)} if val else {})}
    tree = Taxonomy.from_paths(paths)
    bundle = Bundle(tree.levels, tuple(paths), splits, text=normalize(means, dim=1) if text else None)
    write_bundle(folder / "odd.safetensors", bundle)
    counts = [each] * len(paths) if isinstance(each, int) else each
    card = {
        **dict.fromkeys(("name", "title", "citation", "licence", "obtain"), "odd"),
        **{"version": 1, "layout": "feature_bundle", "levels": dict(zip(tree.levels, tree.level_sizes, strict=True))},
        "splits": {"train": {"images": sum(counts), "leaves": sum(map(bool, counts))}},
    }
    (folder / "odd.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    return HierarchicalDataModule(str(folder / "odd.yaml"), str(folder / "odd.safetensors"), shots=None)


@pytest.mark.parametrize("how", ODD.values(), ids=list(ODD))
def test_every_row_has_finite_scores_and_goes_on_learning(how: dict[str, Any], tmp_path: Path) -> None:
    data = task_data(tmp_path, **how)
    tree, (train, test) = data.task.taxonomy, (data._prepared.splits[name] for name in ("train", "test"))
    assert test.features is not None
    leaf, chance = tree.leaf_index[test.nodes], 1 / tree.num_leaves
    for kind, keys in ROWS:
        torch.manual_seed(0)
        method = kind(**keys)
        method.build(data.task)
        if method.chooses and data.has_val:
            split = data._prepared.splits["val"]
            method.choose(split.features, split.nodes)
        logits = method(test.features)
        assert logits.isfinite().all()
        right = float((logits[:, tree.leaves].argmax(dim=1) == leaf).float().mean())
        assert right > 1.5 * chance or tree.num_leaves == 1 or kind is LatHAdapter
        if learner := getattr(method, "learner", None):
            more = learner.with_images(test.features[:2].double(), int(leaf[0]))
            for changed in (more, more.without_class(int(leaf[0])) if tree.num_leaves > 1 else more):
                assert all(part.isfinite().all() for part in changed.scores(tree))
    assert train.features is not None
    statistics = Statistics.of(train.features, tree.leaf_index[train.nodes], tree.num_leaves)
    if int(statistics.seen.sum()) > 1:
        means = fit_tree(statistics, tree).whiten(statistics.means)
        found = kinship_test(means, statistics.seen, tree, permutations=20)
        assert -3 < found.value < 3
        assert 0 < found.p <= 1
