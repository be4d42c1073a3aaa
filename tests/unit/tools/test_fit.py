"""``hierfit taxonomy fit``: a tree that the features know, one they do not, and a group that is no family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hierfit.closed import Kinship
from hierfit.config.command import call
from hierfit.data.bundle import Bundle, BundleSplit, write_bundle
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.fit import fit_of_tree

GROUPS, EACH, WIDTH = 6, 4, 16
PATHS = [(f"g{i // EACH}", f"c{i}") for i in range(GROUPS * EACH)]


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Classes that lie about their group's centre, but for those of g0, which lie anywhere; 5 images each."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(GROUPS, WIDTH, generator=generator).repeat_interleave(EACH, 0)
    means = centres + 0.5 * torch.randn(len(PATHS), WIDTH, generator=generator)
    means[:EACH] = 1.5 * torch.randn(EACH, WIDTH, generator=generator)
    labels = torch.arange(len(PATHS)).repeat_interleave(5)
    images = means[labels] + 0.3 * torch.randn(len(labels), WIDTH, generator=generator)
    path = tmp_path / "made.safetensors"
    splits = {"train4": BundleSplit(images[:3], labels[:3]), "train": BundleSplit(images, labels)}
    write_bundle(path, Bundle(("group", "class"), tuple(PATHS), splits, text=means))
    return path


def fitted(tree: Taxonomy, features: Path, *options: str) -> dict[str, object]:
    tree.to_csv(features.with_name("tree.csv"))
    found = features.with_name("found.json")
    words = [str(features.with_name("tree.csv")), str(features), f"--json-file={found}", *options]
    call(fit_of_tree, words, "taxonomy fit")
    return dict(json.loads(found.read_text()))


@pytest.mark.parametrize("options", [(), ("--text",)])
def test_the_true_tree_fits_and_its_odd_group_is_named(
    features: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    found = fitted(Taxonomy.from_paths(PATHS), features, *options)
    shown = capsys.readouterr().out
    assert shown.startswith("The tree fits")
    assert found["p"] == pytest.approx(1 / 1001)
    groups = {group["node"]: group["p"] for group in found["groups"]}  # type: ignore[attr-defined]
    assert groups["g0"] > 0.05 > max(p for name, p in groups.items() if name != "g0")
    assert shown.rpartition("group\n")[2].split()[2] == "g0"
    assert max(map(len, shown.splitlines()[:-1])) <= 80


def test_a_run_is_judged_by_its_own_tree_and_keeps_what_was_found(features: Path, tmp_path: Path) -> None:
    tree = Taxonomy.from_paths(PATHS)
    run = tmp_path / "run"
    run.mkdir()
    tree.to_csv(run / "taxonomy.csv")
    call(fit_of_tree, [str(run), str(features), "--permutations=50"], "taxonomy fit")
    plain = json.loads((run / "kinship.json").read_text())
    found = Kinship.load(plain, tree)
    assert found.saved(tree) == plain
    assert found.permutations == 50
    assert found.origin.startswith("24 classes by 120 images of train")
    assert int(found.node_p.isfinite().sum()) == GROUPS
    with pytest.raises(KeyError):
        Kinship.load(plain, Taxonomy.from_paths([("x", "y"), ("x", "z")]))


def test_other_groups_of_the_same_classes_do_not(features: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Taxonomy.from_paths([(f"h{i % GROUPS}", name) for i, (_, name) in enumerate(PATHS)])
    assert fitted(other, features)["p"] > 0.05  # type: ignore[operator]
    assert "No evidence that the tree fits" in capsys.readouterr().out


def test_what_does_not_go_together_is_refused(features: Path) -> None:
    with pytest.raises(UserError, match="c23"):
        fitted(Taxonomy.from_paths(PATHS[:-1]), features)
    with pytest.raises(UserError, match=r"no split .val.(?s:.*)train"):
        fitted(Taxonomy.from_paths(PATHS), features, "--split", "val")
