"""A loss, a metric and a decoder of one's own: one file in a folder, named by import path, through a training run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hierfit import Taxonomy, UserError, cli
from hierfit.decoding import DECODERS
from hierfit.losses.objective import Objective
from hierfit.metrics import own_metrics
from hierfit.results.card import ResultCard
from hierfit.results.columns import columns

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
        "metrics: [my_parts.TopTwo]\n"
        "decoders: [my_parts.first_leaf]\n"
    )
    base, run = f"--config={ROOT / 'experiments/base.yaml'}", parts / "run"
    options = budget(shop.folder, shop.folder / "small.yaml")
    cli.main(["fit", base, f"--config={parts / 'own.yaml'}", *options, f"--folder={run}"])
    assert "objective: 2 my_parts.margin" in capsys.readouterr().out

    card, kept = ResultCard.read(run), load_file(run / "test_logits.safetensors")
    tree = Taxonomy.from_csv(run / "taxonomy.csv")
    assert "per_level" not in card.metrics  # the loss says that it reads leaves alone
    assert card.metrics["my_parts.first_leaf"]["leaf_accuracy"] == pytest.approx(1 / tree.num_leaves)
    best = kept["logits"][:, tree.leaves].topk(2).indices
    among = (tree.leaves[best] == kept["paths"].amax(dim=1, keepdim=True)).any(dim=1)
    assert card.metrics["belief"]["top2"] == pytest.approx(among.float().mean().item())

    # Tables know the metric from the card, without the file.
    sys.modules.pop("my_parts")
    (parts / "my_parts.py").rename(parts / "elsewhere.py")
    (column,) = columns("top2@belief", [card], card.levels)
    assert (column.header, column.unit, column.higher_is_better) == ("top-2 belief", "%", True)
    cli.main(["results", str(run), "--columns", "top2@belief,fpa@my_parts.first_leaf"])
    assert "top-2" in capsys.readouterr().out

    # Another metric, of a run that has ended.
    (parts / "elsewhere.py").rename(parts / "my_later.py")
    later = (parts / "my_later.py").read_text().replace("top2", "best2").replace("top-2", "best two")
    (parts / "my_later.py").write_text(later)
    cli.main(["rescore", str(run), "--metric", "my_later.TopTwo", "--decoder", "belief", "--write"])
    rescored = ResultCard.read(run)
    assert rescored.metrics["belief"]["best2"] == card.metrics["belief"]["top2"]
    assert rescored.own_metrics.keys() == {"top2", "best2"}


def test_what_cannot_be_used_is_said(parts: Path) -> None:
    tree = Taxonomy.from_paths([("a", "b"), ("a", "c")])
    for spec, said in (
        ({"my_parts.margin": {"wide": 1}}, "my_parts.margin: there is no option 'wide' – did you mean 'width'?"),
        ({"my_parts.hinge": 1}, "loss 'my_parts.hinge' cannot be imported: AttributeError"),
        ({"your_parts.margin": 1}, "loss 'your_parts.margin' cannot be imported: ModuleNotFoundError"),
    ):
        with pytest.raises(UserError) as error:
            Objective(spec, tree)
        (problem,) = error.value.problems
        assert problem.startswith(said)
    with pytest.raises(UserError) as error:
        own_metrics(["my_parts.margin", "my_parts.TopTwo", "my_parts.TopTwo", "my_parts.none"])
    for problem, said in zip(error.value.problems, ("no class", "already", "cannot be imported"), strict=True):
        assert said in problem
    assert torch.equal(
        DECODERS.find("my_parts.first_leaf")(torch.zeros(2, tree.num_nodes), tree)[1], tree.leaf_paths[0]
    )
