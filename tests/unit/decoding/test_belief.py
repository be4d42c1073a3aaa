"""The belief against sums over leaves written out, what is read off it, and what is fitted on val."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hierfit.decoding import BELIEF_DECODERS, Calibration, belief, calibrate, cut_to, deepest_sure, least_distance
from hierfit.decoding.calibration import fit_temperature, reliability
from hierfit.errors import UserError
from hierfit.metrics.functional import is_tree_path
from hierfit.taxonomy import Taxonomy
from tests.oracles import chain, cut, forests, goes_on, leaves_below, log_share, padded, quick

scorings = st.sampled_from(["best_path", "rollup"])


def random_logits(tree: Taxonomy, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return 2 * torch.randn(3, tree.num_nodes, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slow(row: list[float], tree: Taxonomy, scores: str, temperature: float) -> list[float]:
    """Probability of each node: a softmax over leaves, added up leaf by leaf."""
    paths = {leaf: chain(tree, leaf) for leaf in leaves_below(tree, -1)}
    score = {leaf: row[leaf] for leaf in paths}
    if scores == "best_path":
        cuts = [cut(tree, level) for level in range(tree.num_levels)]
        for leaf, path in paths.items():
            nodes = goes_on(tree, padded(tree, path))
            score[leaf] = sum(log_share(row, [v], here) for v, here in zip(nodes, cuts, strict=True))
    weight = {leaf: math.exp(s / temperature) for leaf, s in score.items()}
    below = [leaves_below(tree, v) for v in range(tree.num_nodes)]
    return [sum(weight[leaf] for leaf in leaves) / sum(weight.values()) for leaves in below]


@given(forests(14), st.integers(0, 99), scorings, st.sampled_from([0.5, 1.0, 3.0]))
@quick
def test_a_belief_is_the_sum_written_out(tree: Taxonomy, seed: int, scores: str, temperature: float) -> None:
    logits = random_logits(tree, seed)
    found = belief(logits, tree, Calibration(scores, {scores: temperature}))
    expected = torch.tensor([slow(row, tree, scores, temperature) for row in logits.tolist()], dtype=torch.float64)
    torch.testing.assert_close(found.nodes, expected)
    torch.testing.assert_close(found.leaves, expected[:, tree.leaves])


@given(forests(14), st.integers(0, 99), scorings, st.sampled_from(sorted(BELIEF_DECODERS)))
@quick
def test_a_probability_never_rises_along_an_answer(tree: Taxonomy, seed: int, scores: str, decoder: str) -> None:
    logits = 20 * random_logits(tree, seed, torch.float32)  # in single precision, far too sure
    nodes = belief(logits, tree, Calibration(scores, {scores: 0.7})).nodes
    below = tree.parent >= 0
    assert (nodes[:, below] <= nodes[:, tree.parent[below]]).all()
    paths = BELIEF_DECODERS[decoder](nodes, tree)
    chance = nodes.gather(1, paths.clamp_min(0)).masked_fill(paths < 0, 0)
    assert (chance[:, 1:] <= chance[:, :-1]).all()
    assert decoder == "per_level" or is_tree_path(paths, tree).all()


@given(forests(14), st.integers(0, 99), scorings)
@quick
def test_a_masked_node_has_no_probability_and_no_nan_comes_of_it(tree: Taxonomy, seed: int, scores: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    kept = tree.leaves[torch.rand(tree.num_leaves, generator=generator) < 0.6]
    kept = kept if len(kept) else tree.leaves[:1]
    alive = torch.zeros(tree.num_nodes, dtype=torch.bool)
    alive[tree.paths(kept)[tree.paths(kept) >= 0]] = True
    logits = random_logits(tree, seed).masked_fill(~alive, -torch.inf)
    nodes = belief(logits, tree, Calibration(scores, {scores: 1.0})).nodes
    assert (nodes[:, ~alive] == 0).all()
    torch.testing.assert_close(nodes[:, kept].sum(1), torch.ones(3, dtype=torch.float64))


def test_a_row_without_a_leaf_is_refused() -> None:
    tree = Taxonomy.from_paths([("a", "b"), ("c",)])
    with pytest.raises(UserError, match="no finite value"):
        belief(torch.full((2, tree.num_nodes), -torch.inf), tree, Calibration())


@given(forests(14), st.integers(0, 99))
@quick
def test_the_bayes_decision_has_the_least_expected_distance(tree: Taxonomy, seed: int) -> None:
    leaves, nodes = belief(random_logits(tree, seed), tree, Calibration())
    paths = {leaf: set(chain(tree, leaf)) for leaf in leaves_below(tree, -1)}
    for row, answer in zip(leaves.tolist(), least_distance(nodes, tree).amax(1).tolist(), strict=True):
        expected = {k: sum(p * len(paths[k] ^ paths[y]) for p, y in zip(row, paths, strict=True)) for k in paths}
        assert expected[answer] == pytest.approx(min(expected.values()))


def test_the_most_probable_leaf_need_not_be_the_bayes_decision() -> None:
    # lion .4 stands alone in its family; lynx, wildcat and tabby share another of .6.
    tree = Taxonomy.from_paths([("big", "lion"), ("small", "lynx"), ("small", "tabby"), ("small", "wildcat")])
    logits = torch.tensor([[0.0, 0.0, 0.4, 0.25, 0.2, 0.15]]).log()
    nodes = belief(logits, tree, Calibration("rollup")).nodes
    assert tree.full_name(int(BELIEF_DECODERS["rollup"](nodes, tree).amax())) == "big/lion"
    # lion: 4·0.6 = 2.4 edges; lynx: 4·0.4 + 2·0.35 = 2.3.
    assert tree.full_name(int(BELIEF_DECODERS["bayes"](nodes, tree).amax())) == "small/lynx"


@given(forests(14), st.integers(0, 99), st.floats(0.5, 1.0, exclude_min=True))
@quick
def test_as_deep_as_it_is_sure(tree: Taxonomy, seed: int, least: float) -> None:
    nodes = belief(random_logits(tree, seed), tree, Calibration()).nodes
    for row, path in zip(nodes.tolist(), deepest_sure(nodes, tree, least).tolist(), strict=True):
        sure = [v for v in range(tree.num_nodes) if row[v] >= least]  # above ½ they lie on one path
        assert max(path) == max(sure, default=-1)


def test_what_is_cut_by_hand() -> None:
    nodes = torch.tensor([[0.9, 0.1, 0.7, 0.2, 0.1]])
    paths = torch.tensor([[0, 2]])
    cuts = [cut_to(paths, nodes, t).tolist()[0] for t in (0.0, 0.7, 0.9, math.inf)]
    assert cuts == [[0, 2], [0, -1], [-1, -1], [-1, -1]]


def leaf_labels(labels: torch.Tensor, count: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, count).bool()


@pytest.mark.parametrize("wanted", [0.25, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found(wanted: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * wanted * torch.randn(20_000, 6, generator=generator)
    labels = torch.multinomial((logits / wanted).softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits, leaf_labels(labels, 6)) == pytest.approx(wanted, rel=0.04)
    # Told only which half it is in, it is found as well, less sharply.
    halves = (torch.arange(6) // 3)[None] == (labels // 3)[:, None]
    assert fit_temperature(logits, halves) == pytest.approx(wanted, rel=0.1)


def test_a_model_without_mistakes_is_left_some_doubt() -> None:
    labels = torch.arange(4).repeat(5)
    unsure, sure = torch.eye(4)[labels], 10 * torch.eye(4)[labels]
    told = leaf_labels(labels, 4)
    chances = [(logits[:1] / fit_temperature(logits, told)).softmax(1).max().item() for logits in (unsure, sure)]
    assert 0.9 < chances[0] < 0.99  # from 0.48: 20 right answers make it surer, and do not make it certain
    assert fit_temperature(sure, told) == pytest.approx(1, abs=0.05)


class TestCalibrate:
    tree = Taxonomy.from_paths([(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(8)], ("top", "mid", "leaf"))

    def drawn(self, noise: float, inner: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of 2000 images, and their paths; scores of inner nodes are worth ``inner``."""
        generator = torch.Generator().manual_seed(0)
        paths = self.tree.paths(self.tree.leaves[torch.randint(8, (2000,), generator=generator)])
        clean = torch.zeros(2000, self.tree.num_nodes).scatter_(1, paths, 1.0)
        clean[:, : self.tree.leaves[0]] *= inner
        return 5 * (clean + noise * torch.randn(clean.shape, generator=generator)), paths

    def test_val_chooses_what_scores_leaves(self) -> None:
        helpful, paths = self.drawn(0.6, 1.0)
        assert calibrate(helpful, paths, self.tree).scores == "best_path"
        noise_only, paths = self.drawn(0.6, 0.0)
        found = calibrate(noise_only, paths, self.tree)
        assert found.scores == "rollup"
        assert found.fpa["rollup"] > found.fpa["best_path"]
        assert calibrate(helpful, paths, self.tree, ("rollup",)).temperatures.keys() == {"rollup"}

    def test_what_is_fitted_lowers_the_error_on_other_images(self) -> None:
        logits, paths = self.drawn(0.9, 1.0)
        found = calibrate(logits[:1000], paths[:1000], self.tree)
        assert found.images == 1000
        assert found.ece is not None
        assert found.ece[1] < found.ece[0] / 2
        nodes = belief(logits[1000:], self.tree, found).nodes
        top = BELIEF_DECODERS["top_down"](nodes, self.tree)
        gap = nodes.gather(1, top).mean() - (top == paths[1000:]).float().mean()
        assert abs(float(gap)) < 0.03

    def test_it_survives_a_file(self) -> None:
        found = calibrate(*self.drawn(0.9, 1.0), self.tree)
        assert Calibration.of(found.plain(), found.conformal) == found
        for damage in ({"scores": "best"}, {"temperatures": {"best_path": -1.0}}, {"temperatures": {"rollup": 1.0}}):
            with pytest.raises(ValueError, match=r"."):
                Calibration.of({**found.plain(), "scores": "best_path", **damage}, None)

    def test_without_labels_nothing_is_fitted(self) -> None:
        logits, paths = self.drawn(0.9, 1.0)
        found = calibrate(logits, torch.full_like(paths, -1), self.tree, ("rollup",))
        assert (found.images, found.scores, found.temperature) == (0, "rollup", 1.0)
        assert found.threshold(0.1) == math.inf


def test_reliability_by_hand() -> None:
    found = reliability(torch.tensor([0.5, 0.5, 0.75, 1.0]), torch.tensor([True, False, True, False]), bins=2)
    assert found.count.tolist() == [2, 2]
    assert found.confidence.tolist() == [0.5, 0.875]
    assert found.accuracy.tolist() == [0.5, 0.5]
    assert found.ece == pytest.approx(0.5 * 0 + 0.5 * 0.375)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), max_size=40), st.integers(1, 20))
def test_as_a_slow_loop_counts(pairs: list[tuple[float, bool]], bins: int) -> None:
    confidence = torch.tensor([c for c, _ in pairs], dtype=torch.float32)
    found = reliability(confidence, torch.tensor([r for _, r in pairs], dtype=torch.bool), bins)
    binned: dict[int, list[tuple[float, bool]]] = {}
    for sure, right in pairs:
        binned.setdefault(max(1, math.ceil(sure * bins)) - 1, []).append((sure, right))
    gaps = [abs(sum(c for c, _ in b) - sum(r for _, r in b)) for b in binned.values()]
    assert found.count.tolist() == [len(binned.get(b, ())) for b in range(bins)]
    assert (math.isnan(found.ece) and not pairs) or found.ece == pytest.approx(sum(gaps) / len(pairs), abs=1e-9)


def test_what_is_no_probability_is_refused() -> None:
    for bad in (1.5, -0.1, math.nan):
        with pytest.raises(ValueError, match="outside"):
            reliability(torch.tensor([bad]), torch.tensor([True]))
    with pytest.raises(ValueError, match="one length"):
        reliability(torch.tensor([0.5]), torch.tensor([True, False]))
