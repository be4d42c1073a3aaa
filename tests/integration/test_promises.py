"""``--max-error`` keeps what it promises on real features: coverage over random splits into calibration and test."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch

from hierfit.data.bundle import read_bundle
from hierfit.decoding import Calibration, belief, calibrate, cut_to, top_down
from hierfit.decoding.calibration import conformal_scores, conformal_threshold
from hierfit.taxonomy import Taxonomy

ROOT = Path(__file__).parents[2]
BUNDLES = Path(os.environ.get("HIERFIT_SHARED", ROOT.parent / "shared" / "data")) / "clip_features"

pytestmark = pytest.mark.skipif(not BUNDLES.is_dir(), reason="the feature bundles are not here")

_SPLITS = 200


def nearest_means(name: str) -> tuple[torch.Tensor, torch.Tensor, Taxonomy, torch.Tensor]:
    """Logits and paths of val and test together, by cosine to the class means of a draw; its own val rows."""
    bundle = read_bundle(BUNDLES / name)
    tree, train = bundle.taxonomy, bundle.splits["train4"]
    mine = tree.resolve(bundle.paths)  # node of each label
    means = torch.zeros(len(mine), train.features.shape[1]).index_add_(0, train.labels, train.features.float())
    parts = [bundle.splits[split] for split in ("val", "test")]
    features, labels = (torch.cat([getattr(part, field) for part in parts]) for field in ("features", "labels"))
    cosine = torch.nn.functional.normalize(features.float(), dim=1) @ torch.nn.functional.normalize(means, dim=1).T
    logits = torch.full((len(labels), tree.num_nodes), 0.0)
    logits[:, mine] = 50 * cosine
    return logits, tree.paths(mine[labels]), tree, torch.arange(len(parts[0].labels))


@pytest.mark.parametrize("bundle", ["fgvc_aircraft_vitb32.safetensors", "caltech101_vitb32.safetensors"])
def test_coverage_over_random_splits(bundle: str) -> None:
    logits, paths, tree, _ = nearest_means(bundle)
    temperature = calibrate(logits[:1000], paths[:1000], tree, ("rollup",)).temperature
    nodes = belief(logits, tree, Calibration("rollup", {"rollup": temperature})).nodes
    answer = top_down(nodes, tree)
    scores = conformal_scores(answer, nodes.gather(1, answer.clamp_min(0)), paths)
    generator, n = torch.Generator().manual_seed(0), len(scores) // 2
    for alpha in (0.2, 0.1, 0.05):
        covered = []
        for _ in range(_SPLITS):
            order = torch.randperm(len(scores), generator=generator)
            threshold = conformal_threshold(scores[order[:n]], alpha)
            covered.append(float((scores[order[n:]] <= threshold).float().mean()))
        mean = sum(covered) / _SPLITS
        # One split's coverage varies with both halves; without ties its mean is 1 − α, at most 1/(n + 1) more.
        spread = 1.96 * math.sqrt(alpha * (1 - alpha) * (1 / n + 1 / (len(scores) - n)) / _SPLITS)
        assert mean >= 1 - alpha - spread, (alpha, mean)
        tied = float((scores == 0).float().mean()) > 1 - alpha  # so many are right down to the leaf
        assert tied or mean <= 1 - alpha + 1 / (n + 1) + spread, (alpha, mean)


def test_what_is_answered_is_right_as_often_as_promised() -> None:
    logits, paths, tree, val = nearest_means("fgvc_aircraft_vitb32.safetensors")
    found = calibrate(logits[val], paths[val], tree, ("rollup",))
    test = torch.arange(len(val), len(logits))
    nodes = belief(logits[test], tree, found).nodes
    for alpha in (0.2, 0.1, 0.05):
        answer = cut_to(top_down(nodes, tree), nodes, found.threshold(alpha))
        wrong = ((answer >= 0) & (answer != paths[test])).any(dim=1)
        rate = float(wrong.float().mean())
        assert rate <= alpha + 2.58 * math.sqrt(alpha * (1 - alpha) * (1 / len(val) + 1 / len(test))), (alpha, rate)
        assert (answer[~wrong] >= 0).any()
