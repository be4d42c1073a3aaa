"""A run on images of which a third is labelled coarsely only, from the bundle to the result card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from hierfit.results.card import ResultCard
from hierfit.taxonomy import Taxonomy

Fit = Callable[..., Path]


def cut_labels(path: Path, whole_val: bool) -> None:
    """A third of all labels one level coarser; of `val` all, if asked."""
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tree = Taxonomy.from_paths([(f"top{i // 4}", f"mid{i // 2}", f"leaf{i}") for i in range(8)])
    for split in ("train4", "val", "test"):
        nodes = tree.leaves[tensors[f"{split}.labels"]]
        coarse = torch.arange(len(nodes)) % 3 == 0
        if split == "val" and whole_val:
            coarse[:] = True
        nodes = torch.where(coarse, tree.parent[nodes], nodes)
        tensors[f"{split}.paths"] = tree.paths(nodes)
        tensors[f"{split}.labels"] = tree.leaf_index[nodes]
    save_file(tensors, path, metadata)


@pytest.mark.parametrize("whole_val", [False, True])
def test_figures_are_counted_over_what_is_labelled(fit: Fit, tmp_path: Path, whole_val: bool) -> None:
    cut_labels(tmp_path / "bundle.safetensors", whole_val)
    run = fit("--controls=null") if not whole_val else fit("--controls=null", "--trainer.max_steps=3")
    card = ResultCard.read(run)
    kept = load_file(run / "test_logits.safetensors")
    tree = Taxonomy.from_csv(run / "taxonomy.csv")
    logits, paths = kept["logits"].tolist(), kept["paths"].tolist()
    assert sum(path[2] < 0 for path in paths) == 13
    right = [0, 0, 0]
    known = [0, 0, 0]
    whole = broken = 0
    for row, path in zip(logits, paths, strict=True):
        guess = [max(range(s.start, s.stop), key=row.__getitem__) for s in tree.level_slices]
        hits = [guess[level] == path[level] for level in range(3) if path[level] >= 0]
        whole += all(hits)
        broken += any(int(tree.parent[guess[level]]) != guess[level - 1] for level in (1, 2))
        for level, hit in enumerate(hits):
            known[level] += 1
            right[level] += hit
    raw = card.metrics["per_level"]
    assert known == [37, 37, 24]
    for level, name in enumerate(("top", "mid", "leaf")):
        assert raw[f"accuracy/{name}"] == pytest.approx(right[level] / known[level])
    assert raw["leaf_accuracy"] == pytest.approx(right[2] / known[2])
    assert raw["fpa"] == pytest.approx(whole / 37)
    assert raw["tice"] == pytest.approx(broken / 37)
    # With no leaf to be seen in validation, the finest level that is seen selects.
    assert card.selected_on == "val"
    assert (run / "checkpoints" / "selected.ckpt").is_file()


def test_a_draw_says_what_it_leaves_out(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bundle.safetensors"
    cut_labels(path, whole_val=False)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({name.replace("train4", "train"): t for name, t in load_file(path).items()}, path, metadata)
    options = ("--controls=null", "--data.shots=1", "--data.shots_policy=all", "--trainer.max_steps=2")
    assert ResultCard.read(fit(*options)).data["images"]["train"] == 8
    assert "11 that are labelled to an inner node only are left out" in capsys.readouterr().out
    card = ResultCard.read(fit(*options, "--data.coarse_shots=1"))
    assert card.data["images"]["train"] == 12
    assert card.data["protocol"] == "all classes, 1 labelled at each inner node"
    assert "7 that are labelled" in capsys.readouterr().out
