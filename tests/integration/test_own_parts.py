"""A loss, a metric and a decoder of one's own: one file in a folder, named by import path, through a training run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hierfit import UserError, cli
from hierfit.data.card import load_card
from hierfit.data.table import read_table
from hierfit.decoding import DECODERS, Calibration
from hierfit.losses.objective import Objective
from hierfit.metrics import own_metrics
from hierfit.metrics.describe import Description
from hierfit.metrics.served import batches_of, score

from .conftest import ROOT, Shop, budget

PARTS = '''
import torch

from hierfit.metrics import TreeMetric


def margin(logits, paths, taxonomy, *, width=1.0):
    """Hinge on the label's own level, leaves alone."""
    leaf = paths.amax(dim=1, keepdim=True)
    gap = width + logits[:, taxonomy.leaves] - logits.gather(1, leaf)
    return gap.clamp_min(0).mean() if len(logits) else logits.sum()


margin.reads_leaves_only = True


def first_leaf(logits, taxonomy):
    """Always the same answer."""
    return taxonomy.leaf_paths[:1].expand(len(logits), -1)


class TopTwo(TreeMetric):
    """Share of samples whose leaf is among the best two."""

    name, header, unit, reads = "top2", "top-2", "%", "logits"

    def tally(self, predicted, target):
        best = predicted[:, self.taxonomy.leaves].topk(2).indices
        right = self.taxonomy.leaves[best] == target.amax(dim=1, keepdim=True)
        return {"top2_right": right.any(dim=1).sum(), "top2_samples": torch.tensor(len(target))}

    def compute(self):
        return self.top2_right / self.top2_samples
'''


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, from which hierfit is called."""
    (tmp_path / "my_parts.py").write_text(PARTS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield tmp_path
    sys.modules.pop("my_parts", None)


def test_through_a_training_run(parts: Path, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    (parts / "own.yaml").write_text(
        "model: {class_path: LinearProbe, init_args: {objective: {my_parts.margin: {weight: 2, width: 0.5}}}}\n"
    )
    base = f"--config={ROOT / 'experiments/base.yaml'}"
    options = budget(shop.folder, shop.folder / "small.yaml")
    cli.main(["fit", base, f"--config={parts / 'own.yaml'}", *options, f"--folder={parts / 'run'}"])
    assert "objective: 2 my_parts.margin" in capsys.readouterr().out
    card = json.loads((parts / "run/result.json").read_text())
    assert "per_level" not in card["metrics"]  # its loss says that it reads leaves alone

    kept = load_file(parts / "run/test_logits.safetensors")
    tree = read_table(load_card(str(shop.folder / "small.yaml")), None).taxonomy
    decoders = {"rollup": DECODERS["rollup"], "my_parts.first_leaf": DECODERS.find("my_parts.first_leaf")}
    own = own_metrics(["my_parts.TopTwo"])
    figures, _ = score(batches_of(kept["logits"], kept["paths"]), tree, Calibration("rollup"), decoders, own)
    assert figures["my_parts.first_leaf"]["leaf_accuracy"] == 1 / tree.num_leaves
    best = kept["logits"][:, tree.leaves].topk(2).indices
    among = (tree.leaves[best] == kept["paths"].amax(dim=1, keepdim=True)).any(dim=1)
    assert figures["belief"]["top2"] == pytest.approx(among.float().mean().item())
    assert own[0].description() == Description("top-2", "%", True)


def test_what_cannot_be_used_is_said(parts: Path) -> None:
    tree = read_table(load_card("fieldguide"), None).taxonomy
    for spec, said in (
        ({"my_parts.margin": {"wide": 1}}, "my_parts.margin: there is no option 'wide', did you mean 'width'?"),
        ({"my_parts.hinge": 1}, "loss 'my_parts.hinge' cannot be imported: AttributeError"),
        ({"your_parts.margin": 1}, "loss 'your_parts.margin' cannot be imported: ModuleNotFoundError"),
    ):
        with pytest.raises(UserError) as error:
            Objective(spec, tree)
        (problem,) = error.value.problems
        assert problem.startswith(said)
    with pytest.raises(UserError) as error:
        own_metrics(["my_parts.margin", "my_parts.TopTwo", "my_parts.TopTwo"])
    assert ["no class" in p or "already" in p for p in error.value.problems] == [True, True]
    assert torch.equal(
        DECODERS.find("my_parts.first_leaf")(torch.zeros(2, tree.num_nodes), tree)[1], tree.leaf_paths[0]
    )
