"""Learning goes on: what is learnt class by class equals a fit to everything, and the folder is changed as a whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierfit.closed import Beside, Learner, Statistics, TiedForm
from hierfit.config.command import call
from hierfit.decoding import Calibration
from hierfit.errors import UserError
from hierfit.methods.head import Head
from hierfit.methods.nodes import Nodes
from hierfit.methods.saved import SavedModel, SavedTowers
from hierfit.predict.classes import forgotten as forget
from hierfit.predict.classes import learnt as learn
from hierfit.predict.classes import place
from hierfit.predict.command import learn as command
from hierfit.predict.predictor import Predictor, load
from hierfit.taxonomy import Taxonomy

D = 6
ROWS = [("gulls", "herring"), ("gulls", "common"), ("terns", "arctic"), ("terns", "little"), ("skua",)]
LATE = ("gulls", "ivory")
WHOLE = Taxonomy.from_paths([*ROWS, LATE])


def images(tree: Taxonomy, path: tuple[str, ...], count: int = 7) -> Tensor:
    """Unit vectors about a direction of their class; the same for a class whatever the tree."""
    generator = torch.Generator().manual_seed(sum(map(ord, "".join(path))))
    return F.normalize(torch.randn(D, generator=generator) + 0.3 * torch.randn(count, D, generator=generator), dim=-1)


def text_of(tree: Taxonomy) -> Tensor:
    generator = torch.Generator()
    return torch.stack([
        F.normalize(torch.randn(D, generator=generator.manual_seed(sum(map(ord, name)))), dim=0) for name in tree.names
    ])  # fmt: skip


def fitted(rows: list[tuple[str, ...]], prior: str, with_text: bool) -> Predictor:
    tree = Taxonomy.from_paths(rows)
    leaves = [int(tree.leaf_index[tree.resolve([row])[0]]) for row in rows]
    features = torch.cat([images(tree, row) for row in rows])
    statistics = Statistics.of(features, torch.tensor(leaves).repeat_interleave(7), tree.num_leaves)
    text = Beside(text_of(tree), 20.0, 0.3, 0.2) if with_text else None
    learner = Learner(statistics, TiedForm(prior, "within", 0.5), 2.0, text)  # type: ignore[arg-type]
    weights, bias = learner.scores(tree)
    head = Head(Nodes(weights.float(), grows=False), 1.0, bias=bias.float())
    calibration = Calibration(conformal=torch.rand(50))
    return Predictor(tree, head, calibration, SavedTowers("tiny", None), {}, {"method": "TreeGDA"}, learner=learner)


def logits_by_path(model: Predictor) -> dict[tuple[str, ...], Tensor]:
    """Logits of fixed features at each node, whatever its number."""
    probe = F.normalize(torch.randn(5, D, generator=torch.Generator().manual_seed(0)), dim=-1)
    logits, tree = model.logits(probe), model.taxonomy
    names = [tuple(tree.names[v] for v in row if v >= 0) for row in tree.paths(torch.arange(tree.num_nodes)).tolist()]
    return {name: logits[:, node] for node, name in enumerate(names)}


@pytest.mark.parametrize("prior", ["tree", "common", "flat"])
def test_a_class_learnt_later_is_as_if_it_had_been_there(prior: str) -> None:
    model = fitted(ROWS, prior, with_text=False)
    features = images(WHOLE, LATE)
    grown = learn(learn(model, features[:4], LATE), features[4:], "ivory")
    wanted = logits_by_path(fitted([*ROWS, LATE], prior, with_text=False))
    found = logits_by_path(grown)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)
    assert grown.calibration.conformal is None  # what was promised of other classes
    assert ("puffin",) in logits_by_path(learn(model, features, "/puffin"))
    assert model.taxonomy.num_leaves == 5


def test_more_images_of_a_known_class_beside_text() -> None:
    more = images(WHOLE, ROWS[2], 12)[7:]
    grown = learn(fitted(ROWS, "tree", with_text=True), more, ROWS[2])
    assert grown.learner is not None
    weights, _ = grown.learner.scores(grown.taxonomy)
    before = fitted(ROWS, "tree", with_text=True).learner
    assert before is not None
    both = before.statistics + Statistics.of(more, torch.full((5,), 3), 5)  # `arctic` is the fourth leaf
    torch.testing.assert_close(grown.learner.statistics.sums, both.sums)
    torch.testing.assert_close(grown.head.nodes(), weights.float())


def test_a_class_that_is_forgotten_leaves_the_tree_and_the_others() -> None:
    model = fitted([*ROWS, LATE], "tree", with_text=True)
    smaller = forget(model, "skua")
    assert "skua" not in smaller.taxonomy.names
    assert smaller.learner is not None
    assert model.learner is not None
    assert smaller.learner.statistics.dof == model.learner.statistics.dof  # its scatter still tells
    gone = forget(forget(smaller, "arctic"), "little")
    assert set(gone.taxonomy.names) == {"gulls", "herring", "common", "ivory"}
    gone = forget(forget(gone, "herring"), "common")
    with pytest.raises(UserError, match="last class"):
        forget(gone, "ivory")
    flat = forget(fitted([("gulls", "herring"), ("skua",), ("tern",)], "tree", with_text=False), "herring")
    assert flat.taxonomy == Taxonomy.from_paths([("skua",), ("tern",)])  # the deepest level went with it


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("gulls", "is a group"),
        ("guls/ivory", "there is no group 'guls' – did you mean 'gulls'"),
        ("ivory", "there is no class 'ivory'"),
        ("gulls/herring/adult", "is a class, with nothing below it"),
    ],
)
def test_a_class_without_a_place_is_refused(label: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        place(Taxonomy.from_paths(ROWS), label)
    assert place(WHOLE, "ivory") == LATE
    assert place(WHOLE, "/puffin") == ("puffin",)
    assert place(WHOLE, "/skua") == ("skua",)


def test_the_command_changes_a_folder_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, home = fitted(ROWS, "tree", with_text=False), tmp_path / "model"
    towers = SavedTowers("tiny", "0" * 64, home / "towers")
    (home / "towers").mkdir(parents=True)
    parts = (model.taxonomy, model.head, model.calibration, towers, {}, dict(model.facts), model.learner)
    SavedModel(*parts).write(home)  # type: ignore[arg-type]
    (home / "README.md").write_text("# Terns\n")
    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.setattr(Predictor, "encode", lambda self, files, workers=0: images(WHOLE, LATE))
    call(command, [str(home), str(tmp_path / "a.png"), "--label", "gulls/ivory"], "learn")
    call(command, [str(home), str(tmp_path / "a.png"), "--label", "/puffin", "--out", str(tmp_path / "new")], "learn")
    assert "puffin" in load(tmp_path / "new").taxonomy.names
    again = load(home)
    assert again.taxonomy.num_leaves == 6
    assert again.towers.folder == home / "towers"
    for name, value in logits_by_path(learn(model, images(WHOLE, LATE), LATE)).items():
        torch.testing.assert_close(logits_by_path(again)[name], value, rtol=0, atol=1e-5)
    call(command, [str(home), "--forget", "ivory", "--out", str(tmp_path / "smaller")], "learn")
    assert load(tmp_path / "smaller").taxonomy.num_leaves == 5
    assert load(home).taxonomy.num_leaves == 6
    page = (tmp_path / "smaller" / "README.md").read_text()
    assert re.search(r"# Terns\n\n## Learnt since\n\n- [\d-]+: 1 image of new gulls/ivory\n- [\d-]+: forgot", page)
    assert "ms beside encoding" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "model", "new", "smaller"]
    for words in ([str(home)], [str(home), "a.png"], [str(home), "--forget", "herring", "--out", str(home)]):
        with pytest.raises(UserError):
            call(command, words, "learn")


def test_a_model_of_another_method_says_what_to_do() -> None:
    model = fitted(ROWS, "tree", with_text=False)
    other = Predictor(model.taxonomy, model.head, model.calibration, model.towers, {}, {"method": "CoOp"})
    with pytest.raises(UserError, match=r"CoOp.*keeps no sums(?s:.*)--model TreeGDA"):
        learn(other, images(WHOLE, LATE), LATE)
