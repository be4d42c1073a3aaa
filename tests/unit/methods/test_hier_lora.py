"""HierLoRA: where LoRA sits, what it costs, that it starts as the backbone, and how it is kept."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from hierfit.backbone import Backbone, encode_nodes
from hierfit.backbone.config import dual_config
from hierfit.backbone.loading import save_merged
from hierfit.backbone.towers import DualEncoder
from hierfit.cli import main
from hierfit.data.batch import Batch
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.errors import UserError
from hierfit.methods import HierLoRA
from hierfit.methods.lora import adapt, adapted_names, open_adapter, rank_within, save_adapter
from hierfit.taxonomy import Taxonomy

from .made import towers_task

TREE = Taxonomy.from_paths([(f"cat {i // 2}", f"photo {i}") for i in range(6)])


def built(backbone: Backbone, **keys: Any) -> HierLoRA:
    method = HierLoRA(**{"rank": 2, "dropout": 0.0, **keys})
    method.build(towers_task(backbone, TREE))
    return method


def batch(size: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(3)
    rows = torch.arange(size) % TREE.num_leaves
    return Batch(torch.randn(size, 3, 32, 32, generator=generator), TREE.leaf_paths[rows], rows)


def train(method: HierLoRA, steps: int = 5, lr: float = 0.02) -> list[float]:
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=lr)
    losses = []
    method.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = method.loss(batch())["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    method.eval()
    return losses


def lora_names(model: nn.Module) -> set[str]:
    return {
        n.split(".lora_A")[0].removeprefix("base_model.model.") for n, _ in model.named_parameters() if ".lora_A" in n
    }


@pytest.mark.parametrize("keys", [{}, {"dora": True}, {"rslora": True}, {"towers": "image"}, {"learn_scale": True}])
def test_it_starts_as_the_backbone_and_learns(backbone: Backbone, keys: dict[str, Any]) -> None:
    pixels = batch().inputs
    expected = 20 * backbone.encode_image(pixels) @ encode_nodes(backbone, TREE, {}).T
    method = built(backbone, **keys).eval()
    torch.testing.assert_close(method(pixels), expected, atol=1e-4, rtol=0)
    if "towers" in keys:  # a frozen text tower is not run
        backbone.encode_tokens = None  # type: ignore[assignment,method-assign]
    before = {name: p.clone() for name, p in method.named_parameters()}
    losses = train(method)
    assert losses[-1] < losses[0]
    trained = {name for name, p in method.named_parameters() if p.requires_grad}
    assert all(".lora_" in name or name == "classifier.log_scale" for name in trained)
    assert {name for name, p in method.named_parameters() if not torch.equal(p, before[name])} == trained


@pytest.mark.parametrize(("text_chunk", "budget"), [(256, 1), (2, 1), (256, 0)])
def test_frozen_blocks_run_once_and_nothing_changes(backbone: Backbone, text_chunk: int, budget: int) -> None:
    other = copy.deepcopy(backbone)
    keys: dict[str, Any] = {"layers": "1:", "text_chunk": text_chunk}
    torch.manual_seed(0)
    plain = built(other, **keys)
    torch.manual_seed(0)
    kept = built(backbone, **keys, keep_frozen_mib=1)
    for tower in (backbone.model.vision_model, backbone.model.text_model):
        tower.kept._left *= budget  # at 0 all is computed as it comes
    rows: list[int] = []
    block = backbone.model.vision_model.encoder.layers[0]
    block.register_forward_hook(lambda module, args, output: rows.append(len(output)))
    with torch.inference_mode():  # as Lightning validates: what it keeps, training reads
        torch.testing.assert_close(kept.eval()(batch(3).inputs), plain.eval()(batch(3).inputs), atol=1e-5, rtol=1e-5)
    assert train(kept) == pytest.approx(train(plain), abs=1e-5)
    assert sum(rows) == (6 if budget else 3 + 5 * 6)  # each picture once
    mine, theirs = (dict(m.named_parameters()) for m in (kept, plain))
    for name, parameter in mine.items():
        torch.testing.assert_close(parameter, theirs[name], atol=1e-4, rtol=1e-3)
    assert len(backbone.model.vision_model.encoder.layers) == 2


def test_what_cannot_be_kept_is_said(backbone: Backbone) -> None:
    with pytest.raises(UserError, match="LoRA sits in the first block already"):
        built(copy.deepcopy(backbone), keep_frozen_mib=1)
    method = built(backbone, layers="-1:", keep_frozen_mib=1)
    method.trainer = SimpleNamespace(datamodule=HierarchicalDataModule())  # type: ignore[assignment]
    with pytest.raises(UserError, match="no picture comes twice"):
        method.on_fit_start()


@pytest.mark.parametrize(
    ("targets", "matrices"),
    [(["q", "k", "v"], {"q", "k", "v"}), (["o"], {"out"}), (["fc", "q"], {"q", "fc1", "fc2"})],
)
def test_targets_name_the_matrices_of_every_block(backbone: Backbone, targets: Any, matrices: set[str]) -> None:
    adapt(backbone, HierLoRA(rank=1, targets=targets).keys)
    names = lora_names(backbone.model)
    assert {n.rsplit(".", 1)[1].removesuffix("_proj") for n in names} == matrices
    assert {n.partition(".encoder.layers.")[0] for n in names} == {"vision_model", "text_model"}
    assert len(names) == 2 * 2 * len(matrices)  # towers, blocks; SigLIP's pooling head has matrices of these names


@pytest.mark.parametrize(
    ("layers", "blocks"),
    [
        *((None, {0, 1}), ("1:", {1}), ("-1:", {1}), (":1", {0}), ("0:2", {0, 1}), (":", {0, 1})),
        *(("1..", {1}), ("-1..", {1}), ("..1", {0}), ("0..2", {0, 1}), ("..", {0, 1})),
    ],
)
def test_layers_are_a_slice_of_blocks_and_towers_are_chosen(clip: Backbone, layers: str, blocks: set[int]) -> None:
    adapt(clip, HierLoRA(rank=1, towers="image", layers=layers).keys)
    names = lora_names(clip.model)
    assert {int(n.split(".layers.")[1].split(".")[0]) for n in names} == blocks
    assert all(n.startswith("vision_model") for n in names)


@pytest.mark.parametrize(
    ("width", "blocks", "patch", "size", "text_width", "rank"),
    [(768, 12, 32, 224, 512, 8), (768, 12, 16, 224, 512, 8), (1024, 24, 14, 224, 768, 10)],
)
def test_the_default_stays_below_half_a_percent(
    width: int, blocks: int, patch: int, size: int, text_width: int, rank: int
) -> None:
    """ViT-B/32, B/16 and L/14, without their weights."""
    vision = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": blocks, "patch_size": patch}
    text = {"hidden_size": text_width, "intermediate_size": 4 * text_width, "num_attention_heads": text_width // 64}
    vision |= {"image_size": size, "num_attention_heads": width // 64}
    config = dual_config({"model_type": "clip", "text_config": text, "vision_config": vision}, "here", [])
    assert config is not None
    with torch.device("meta"):
        model = DualEncoder(config)
    names = adapted_names(model, HierLoRA().keys)
    assert rank_within(model, names, HierLoRA().keys) == rank
    updates = sum(rank * sum(model.get_submodule(n).weight.shape) for n in names)  # type: ignore[arg-type,union-attr]
    assert updates / (updates + sum(p.numel() for p in model.parameters())) < 0.005


def test_the_share_is_printed_with_the_objective(clip: Backbone) -> None:
    method = built(clip, targets=["q"], layers="-1:")
    total = sum(p.numel() for p in method.parameters())
    method.parameter_counts = lambda: {"trainable": 128, "total": total}  # type: ignore[method-assign]
    first, *others = method.describe()
    assert first.startswith("LoRA of rank 2 on q of both towers, blocks -1:: 128 trained of ")
    assert f"({12800 / total:.2f} %)" in first
    assert any("HiSCE acts on 3 of 3 at level0" in line for line in others)


def test_choices_that_do_not_fit_the_towers(clip: Backbone) -> None:
    with pytest.raises(UserError, match=r"no block of the vision tower, which has 2 \(0 to 1\)"):
        adapt(clip, HierLoRA(rank=1, layers="2:").keys)
    with pytest.raises(UserError, match=r"rank 1 on 12 matrices is .* more than the budget of 0\.1 %"):
        adapt(clip, HierLoRA(budget=0.001).keys)
    with pytest.raises(UserError, match="level 'order', which does not exist"):
        HierLoRA(objective={"hisce": {"epsilon": {"order": 0.1}}}, rank=1).build(towers_task(clip, TREE))
    with pytest.raises(UserError, match="trains the towers"):
        HierLoRA(rank=1).build(dataclasses.replace(towers_task(clip, TREE), backbone=None, prompts=None))


def test_the_adapter_folder_opens_with_peft(folder: Path, backbone: Backbone, tmp_path: Path) -> None:
    import transformers
    from peft import PeftModel

    method = built(backbone)
    train(method)
    method.write_artifacts(tmp_path)
    assert sorted(p.name for p in (tmp_path / "adapter").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    facts = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    model_class = getattr(transformers, facts["auto_mapping"]["base_model_class"])
    theirs = PeftModel.from_pretrained(model_class.from_pretrained(folder), tmp_path / "adapter").eval()
    pixels, (ids,) = batch().inputs, backbone.token_chunks(["a photo", "of a cat"], 2)[1]
    with torch.no_grad():
        for own, other in (
            (backbone.model.image_features(pixels), theirs.get_image_features(pixels)),
            (backbone.model.text_features(ids), theirs.get_text_features(ids)),
        ):
            torch.testing.assert_close(own, other.pooler_output, rtol=0, atol=1e-5)
    save_adapter(backbone, tmp_path / "adapter")  # again, over the old one
    assert not list(tmp_path.glob(".adapter*"))


def test_merged_towers_equal_the_adapted_ones(
    folder: Path, backbone: Backbone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = built(backbone)
    train(method)
    method.write_artifacts(tmp_path)
    save_merged(backbone, tmp_path / "merged")
    main(["merge", str(tmp_path), str(tmp_path / "by command")])
    assert "data.backbone" in capsys.readouterr().out
    pixels = batch().inputs
    with torch.no_grad():
        adapted = backbone.encode_image(pixels)
        assert not torch.allclose(Backbone.load(str(folder)).encode_image(pixels), adapted, atol=1e-3)
        for name in ("merged", "by command"):
            merged = Backbone.load(str(tmp_path / name))
            torch.testing.assert_close(merged.encode_image(pixels), adapted, atol=1e-5, rtol=0)
            texts = (towers.encode_text(["a photo"]) for towers in (merged, backbone))
            torch.testing.assert_close(*texts, atol=1e-5, rtol=0)
    assert lora_names(backbone.model)  # still adapted
    with pytest.raises(UserError, match="exists already"):
        save_merged(backbone, tmp_path / "merged")
    with pytest.raises(UserError, match="does not fit the backbone 'tiny'"):
        open_adapter(Backbone.load("tiny"), tmp_path / "adapter")
    with pytest.raises(SystemExit):
        main(["merge", str(tmp_path / "nowhere"), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_text_is_encoded_once_an_evaluation_and_once_a_step(clip: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    method = built(clip).eval()
    calls = []
    encode = clip.encode_tokens
    monkeypatch.setattr(clip, "encode_tokens", lambda ids, _: calls.append(len(ids)) or encode(ids))
    with torch.inference_mode():
        first = method(batch().inputs)
        assert torch.equal(method(batch().inputs), first)
    assert calls == [TREE.num_nodes]
    train(method, steps=2)
    assert len(calls) == 3
    with torch.no_grad():
        after = method(batch().inputs)
    assert len(calls) == 4
    assert not torch.allclose(after, first)
    torch.testing.assert_close(after, method(batch().inputs))


def test_gradient_checkpointing_changes_memory_only(clip: Backbone, folders: dict[str, Path]) -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        method = built(Backbone.load(str(folders["clip"])), gradient_checkpointing=checkpointing).train()
        method.loss(batch())["loss"].backward()
        gradients.append([p.grad for p in method.parameters() if p.requires_grad])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
