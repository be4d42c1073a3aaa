"""Trained on one data set, tested on others; trained on coarse labels, tested on fine ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from hierfit.cli import main
from hierfit.data.bundle import Bundle, BundleSplit, write_bundle
from hierfit.methods.lathadapter.model import ResidualNodes, Residuals
from hierfit.methods.tasks import kin_of
from hierfit.results.card import ResultCard
from hierfit.taxonomy import Taxonomy

Path_ = tuple[str, ...]

SOURCE: list[Path_] = [(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(8)]
OTHER: list[Path_] = [
    ("top0", "mid0", "leaf0"),
    ("top0", "mid0", "new"),
    ("top2", "mid9", "leaf7"),
    ("top2", "mid8", "x"),
]
LEVELS = ("top", "mid", "leaf")


def vector(path: Path_, width: int) -> Tensor:
    """Where the images of a leaf lie; the same in every bundle."""
    return torch.randn(width, generator=torch.Generator().manual_seed(sum(map(ord, "/".join(path))) * 7919))


def write(
    folder: Path,
    name: str,
    paths: Sequence[Path_],
    *,
    text: bool = True,
    width: int = 16,
    backbone: str = "random/tower",
    rows: Sequence[int] | None = None,
) -> dict[str, str | None]:
    """A bundle and its card; ``rows`` is the order of the test samples. Returns it as an entry of data.targets."""
    generator = torch.Generator().manual_seed(0)
    means, features_of_text = torch.stack([vector(path, width) for path in paths]), None
    if text:
        own = [torch.Generator().manual_seed(sum(map(ord, "/".join(path)))) for path in paths]
        noise = torch.stack([torch.randn(width, generator=g) for g in own])
        features_of_text = F.normalize(means + noise, dim=-1)
    splits = {}
    for split, count in {"train4": 4 * len(paths), "val": 2 * len(paths), "test": 3 * len(paths)}.items():
        labels = torch.arange(count) % len(paths)
        # Noise by leaf, so that a bundle with its leaves in another order holds the same samples.
        noise = torch.zeros(count, width)
        for leaf in sorted(range(len(paths)), key=lambda i: paths[i]):
            noise[labels == leaf] = torch.randn(int((labels == leaf).sum()), width, generator=generator)
        features = F.normalize(means[labels] + 0.9 * noise, dim=-1)
        if split == "test" and rows is not None:
            features, labels = features[list(rows)], labels[list(rows)]
        splits[split] = BundleSplit(features, labels)
    bundle = Bundle(LEVELS, tuple(paths), splits, features_of_text, backbone=backbone, logit_scale=50.0)
    write_bundle(folder / f"{name}.safetensors", bundle)
    tree = bundle.taxonomy
    card = {"name": name, "version": 1, **dict.fromkeys(("title", "citation", "licence", "obtain"), "a test")}
    card |= {"levels": dict(zip(LEVELS, tree.level_sizes, strict=True)), "layout": "feature_bundle"}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    return {str(folder / f"{name}.yaml"): str(folder / f"{name}.safetensors")}


Fit = Callable[..., Path]


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Runs ``hierfit fit`` on the source bundle and returns the run's folder."""
    write(tmp_path, "source", SOURCE)
    count = iter(range(100))

    def run(method: str = "LatHAdapter", card: str = "source", **options: Any) -> Path:
        folder = tmp_path / "runs" / str(next(count))
        settings = {
            "folder": folder,
            "wandb": "disabled",
            "data.card": tmp_path / f"{card}.yaml",
            "data.root": tmp_path / f"{card}.safetensors",
            "data.shots": 4,
            "data.batch_size": 8,
            "trainer.accelerator": "cpu",
            "trainer.max_steps": 6,
            "trainer.val_check_interval": 3,
            "trainer.check_val_every_n_epoch": "null",
            "trainer.num_sanity_val_steps": 0,
            "trainer.log_every_n_steps": 1,
            "trainer.use_distributed_sampler": "false",
            "model": f"hierfit.methods.{method}",
            **{key.replace("__", "."): value for key, value in options.items()},
        }
        values = {k: v if not isinstance(v, dict) else json.dumps(v) for k, v in settings.items()}
        main(["fit", *(f"--{key}={value}" for key, value in values.items())])
        return folder

    return run


def logits(folder: Path) -> Tensor:
    found: Tensor = load_file(folder / "test_logits.safetensors")["logits"]
    return found


def refused(capsys: pytest.CaptureFixture[str], run: Callable[[], object]) -> str:
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("method", ["LatHAdapter", "LinearProbe", "TipAdapter", "ZeroShot"])
def test_the_same_classes_in_another_order_are_scored_as_if_they_were_the_source_s(
    fit: Fit, tmp_path: Path, method: str
) -> None:
    rows = torch.randperm(24, generator=torch.Generator().manual_seed(3))
    copy = write(tmp_path, "copy", SOURCE[::-1], rows=rows.tolist())
    folder = fit(method, data__targets=copy)
    own, other = (load_file(f / "test_logits.safetensors") for f in (folder, folder / "targets/copy"))
    trees = [Taxonomy.from_csv(f / "taxonomy.csv") for f in (folder, folder / "targets/copy")]
    assert trees[0] != trees[1]

    def named(kept: dict[str, Tensor], tree: Taxonomy) -> dict[str, list[dict[str, float]]]:
        """For each leaf its samples, each with its logits by full name."""
        found: dict[str, list[dict[str, float]]] = {}
        for row, path in zip(kept["logits"].tolist(), kept["paths"][:, -1].tolist(), strict=True):
            scores = {tree.full_name(v): score for v, score in enumerate(row)}
            found.setdefault(tree.full_name(path), []).append(scores)
        return {leaf: sorted(scores, key=lambda s: s["top0"]) for leaf, scores in found.items()}

    mine, theirs = named(own, trees[0]), named(other, trees[1])
    assert mine.keys() == theirs.keys()
    for leaf, samples in mine.items():
        for a, b in zip(samples, theirs[leaf], strict=True):
            assert a == pytest.approx(b, abs=1e-4)
    cards = [ResultCard.read(f) for f in (folder, folder / "targets/copy")]
    for decoder, figures in cards[0].metrics.items():
        # Random cuts go by the order of nodes; near ties of the belief by the last digits.
        close = {name: value for name, value in figures.items() if name not in ("mta", "ece", "haurc")}
        assert {name: cards[1].metrics[decoder][name] for name in close} == pytest.approx(close, abs=1e-6)
    assert (cards[1].row, cards[1].seed, cards[1].method) == (cards[0].row, cards[0].seed, method)
    assert cards[1].data["card"] == "copy"
    assert cards[1].data["protocol"] == "trained on source"
    assert cards[1].data["source"]["card"] == "source"
    assert cards[1].data["images"] == {"train": 32, "val": 16, "test": 24}


def test_zero_shot_on_other_classes_is_zero_shot_on_them(fit: Fit, tmp_path: Path) -> None:
    there = fit("ZeroShot", data__targets=write(tmp_path, "other", OTHER)) / "targets/other"
    direct = fit("ZeroShot", card="other")
    assert torch.equal(logits(there), logits(direct))
    # The belief's temperature is that of the source's val there, and of its own val here.
    found, expected = ({**ResultCard.read(run).metrics, "belief": None, "bayes": None} for run in (there, direct))
    assert found == expected
    assert (there / "taxonomy.csv").read_text() == (direct / "taxonomy.csv").read_text()


def test_targets_have_no_say_in_training(fit: Fit, tmp_path: Path) -> None:
    targets = write(tmp_path, "other", OTHER) | write(tmp_path, "copy", SOURCE[::-1])
    with_targets, without = fit(data__targets=targets), fit()
    assert torch.equal(logits(with_targets), logits(without))
    a, b = (torch.load(f / "checkpoints/selected.ckpt", weights_only=True) for f in (with_targets, without))
    assert all(torch.equal(value, b["state_dict"][name]) for name, value in a["state_dict"].items())
    curves = [(f / "metrics.csv").read_text().splitlines()[0] for f in (with_targets, without)]
    assert curves[0] == curves[1]
    assert not (without / "targets").exists()


@pytest.mark.parametrize("method", ["LatHAdapter", "CLIPAdapter"])
def test_an_adapter_carries_over_to_other_classes(fit: Fit, tmp_path: Path, method: str) -> None:
    folder = fit(method, data__targets=write(tmp_path, "other", OTHER), model__lr=0.01)
    found, card = logits(folder / "targets/other"), ResultCard.read(folder / "targets/other")
    assert found.shape == (12, 2 + 3 + 4)
    assert not torch.equal(found, logits(fit("ZeroShot", card="other")))
    assert card.levels == LEVELS
    assert card.val == ResultCard.read(folder).val


def test_each_target_has_a_table(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fit(
        data__targets=write(tmp_path, "other", OTHER), controls={"zero-shot": {"model": "hierfit.methods.ZeroShot"}}
    )
    printed = capsys.readouterr().out
    assert "other · trained on source · 4 shots a leaf" in printed
    assert sum(line.startswith("zero-shot  ") for line in printed.splitlines()) == 2
    main(["results", str(folder)])
    assert "other · trained on source" in capsys.readouterr().out


def test_residuals_carry_over_by_path_and_along_the_tree() -> None:
    here, there = Taxonomy.from_paths(SOURCE, LEVELS), Taxonomy.from_paths(OTHER, LEVELS)
    text = F.normalize(torch.randn(here.num_nodes, 5), dim=-1)
    other = torch.zeros(there.num_nodes, 5)  # so that nothing but what is carried over is left
    for kind in ("class", "tree", "text"):
        residuals = Residuals(kind, text, torch.ones(here.num_nodes, dtype=torch.bool), here, 10.0)
        torch.nn.init.normal_(residuals.vectors)
        nodes = ResidualNodes(text, torch.nn.Identity(), residuals, 0.5)
        own, carried = F.normalize(residuals(), dim=-1), nodes.of(other, kin_of(there, here, nodes.inherits))
        for path in (["top0"], ["top0", "mid0"], ["top0", "mid0", "leaf0"]):
            torch.testing.assert_close(carried[there.find(path)], own[here.find(path)])
        new = carried[there.find(["top0", "mid0", "new"])]
        torch.testing.assert_close(new, own[here.find(["top0", "mid0"])] if kind == "tree" else torch.zeros(5))
        assert not carried[there.find(["top2", "mid9", "leaf7"])].any()


@pytest.mark.parametrize("method", ["LinearProbe", "TaskRes", "TipAdapter", "TipAdapterF"])
def test_a_method_that_knows_only_its_classes_is_refused_before_it_trains(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    targets = write(tmp_path, "other", OTHER)
    error = refused(capsys, lambda: fit(method, data__targets=targets))
    assert f"other has other classes: {method} cannot score classes it was not trained on" in error
    assert "CLIPAdapter, CoOp, HierLoRA, LatHAdapter, ZeroShot can" in error
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 8}, "its features are 8 wide, those that are trained on 16"),
        ({"text": False}, "no text features"),
        ({"backbone": "another/tower"}, "encoded by 'another/tower', those that are trained on by 'random/tower'"),
    ],
)
def test_a_target_that_does_not_fit_is_refused(
    fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    assert message in refused(capsys, lambda: fit(data__targets=write(tmp_path, "other", OTHER, **changes)))


def test_a_target_of_the_same_classes_needs_no_text(fit: Fit, tmp_path: Path) -> None:
    folder = fit("ZeroShot", data__targets=write(tmp_path, "copy", SOURCE, text=False))
    assert torch.equal(logits(folder), logits(folder / "targets/copy"))


def test_base_and_novel_are_told_apart_on_the_same_classes(fit: Fit, tmp_path: Path) -> None:
    folder = fit(data__targets=write(tmp_path, "copy", SOURCE[::-1]), data__novel="halves")
    card, source = ResultCard.read(folder / "targets/copy"), ResultCard.read(folder)
    assert card.metrics["base_to_novel"] == pytest.approx(source.metrics["base_to_novel"], abs=1e-6)
    assert card.data["protocol"] == "trained on source, novel halves"


@pytest.mark.parametrize(
    "method", ["LatHAdapter", "LinearProbe", "TaskRes", "CLIPAdapter", "TipAdapterF", "TipAdapter"]
)
def test_coarse_labels_train_what_is_tested_fine(fit: Fit, method: str) -> None:
    search = {"model__search": "true"} if method.startswith("Tip") else {}
    card = ResultCard.read(fit(method, data__train_level="mid", **search))
    assert card.metrics["per_level"]["leaf_accuracy"] is not None
    assert card.metrics["per_level"]["accuracy/leaf"] is not None
    assert "base_to_novel" not in card.metrics
    assert card.data["protocol"] == "labels down to mid"
    if card.selected_on == "val":
        assert 0 < card.val["val/accuracy/mid"] <= 1


@pytest.mark.parametrize("residual", ["class", "tree"])
def test_coarse_labels_leave_finer_residuals_alone(fit: Fit, residual: str) -> None:
    folder = fit(data__train_level="mid", model__residual=residual, model__weight_decay=0)
    weights = torch.load(folder / "checkpoints/selected.ckpt", weights_only=True)["state_dict"]
    vectors = weights["classifier.residuals.vectors"]
    assert vectors[:6].abs().amax(dim=1).gt(0).all()
    assert not vectors[6:].any()


@pytest.fixture(scope="module")
def guides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Cards of drawn species: a source, others, and the source's in harder pictures."""
    folder = tmp_path_factory.mktemp("guides")
    content = yaml.safe_load(Path(__file__).parents[2].joinpath("data_cards/fieldguide.yaml").read_text())
    guide: dict[str, Any] = {"families": 2, "genera": 2, "species": 2}
    changes: dict[str, dict[str, Any]] = {
        "seen": {"seed": 0},
        "others": {"seed": 1},
        "harder": {"seed": 0, "nuisance": {"light": 2.0}},
    }
    for name, change in changes.items():
        layout = {"name": "fieldguide", "guide": guide | change, "per_leaf": {"train": 4, "val": 1, "test": 2}}
        card = content | {"name": name, "levels": {"family": 2, "genus": 4, "species": 8}, "layout": layout}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    return {name: str(folder / f"{name}.yaml") for name in changes}


@pytest.mark.parametrize("method", ["HierLoRA", "CoOp"])
def test_text_of_other_classes_goes_through_what_was_learnt(
    fit: Fit, tmp_path: Path, guides: dict[str, str], method: str
) -> None:
    def run(method: str, card: str, **options: Any) -> Path:
        shared = {"data__card": guides[card], "data__root": "null", "data__cache_dir": tmp_path / "cache"}
        loading = {"data__num_workers": 0, "trainer__max_steps": 2, "trainer__val_check_interval": 1}
        return fit(method, **shared, **loading, **options)

    targets = {guides["others"]: None, guides["harder"]: None}
    budget = {"model__rank": 2} if method == "HierLoRA" else {"model__context_init": "a photo of a"}
    still, moved = (run(method, "seen", data__targets=targets, model__lr=lr, **budget) for lr in ("0.000000001", 0.05))
    assert not torch.allclose(logits(still / "targets/others"), logits(moved / "targets/others"), atol=1e-3)
    if method == "HierLoRA":  # untouched towers are zero-shot
        zero = run("ZeroShot", "seen", data__targets=targets)
        for target in ("others", "harder"):
            torch.testing.assert_close(
                logits(still / "targets" / target), logits(zero / "targets" / target), atol=2e-3, rtol=1e-4
            )
    own, harder = (Taxonomy.from_csv(f / "taxonomy.csv") for f in (moved, moved / "targets/harder"))
    assert own == harder


def test_contexts_of_single_classes_do_not_carry_over(
    fit: Fit, tmp_path: Path, guides: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"data__card": guides["seen"], "data__root": "null", "data__cache_dir": tmp_path / "cache"}
    targets = {guides["others"]: None}
    error = refused(
        capsys,
        lambda: fit("CoOp", model__class_specific="true", data__targets=targets, data__num_workers=0, **options),
    )
    assert "Set model.class_specific to false" in error
