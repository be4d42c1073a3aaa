"""Features equal transformers' own, whatever the padding, the batch size, the precision and the wrapping."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from hierfit.backbone import Backbone

TEXTS = ["a photo of a cat", "dog", "a blue bird of a kind", "", "A Photo of a CAT", "blue"]


def reference(folder: Path, kind: str) -> Any:
    """The model of transformers."""
    from transformers import CLIPModel, SiglipModel

    return (CLIPModel if kind == "clip" else SiglipModel).from_pretrained(folder)


def test_text_features_are_those_of_transformers_at_full_padding(backbone: Backbone, folder: Path, kind: str) -> None:
    """SigLIP as published: lower case and no mask."""
    from transformers import AutoTokenizer

    texts = TEXTS if kind == "clip" else [text.lower() for text in TEXTS]
    pad: Any = {"padding": "max_length", "max_length": backbone.context_length, "return_tensors": "pt"}
    tokens = dict(AutoTokenizer.from_pretrained(folder)(texts, **pad))
    if kind == "siglip":
        del tokens["attention_mask"]
    with torch.no_grad():
        expected = F.normalize(reference(folder, kind).get_text_features(**tokens).pooler_output, dim=-1)
    torch.testing.assert_close(backbone.encode_text(TEXTS), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("half", [False, True])
def test_features_and_gradients_are_those_of_transformers(
    half: bool, backbone: Backbone, folder: Path, kind: str
) -> None:
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs, (ids,) = reference(folder, kind).eval(), backbone.token_chunks(TEXTS, 100)[1]
    backbone.requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = backbone.model.image_features(pixels), backbone.model.text_features(ids)
        expected = theirs.get_image_features(pixels).pooler_output, theirs.get_text_features(ids).pooler_output
    close: Any = {"rtol": 0, "atol": 0.02 if half else 1e-6}  # to the bit, but for where weights lie in memory
    torch.testing.assert_close(found, expected, **close)
    for features in (found, expected):
        sum(part.float()[:, 0].sum() for part in features).backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    assert gradients.keys() == {name for name, _ in backbone.model.named_parameters()}
    for name, weight in backbone.model.named_parameters():
        assert (weight.grad is None) == (gradients[name] is None), name
        if weight.grad is not None and not half:
            torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batch_size_changes_nothing_and_order_is_kept(backbone: Backbone, batch_size: int) -> None:
    one_by_one = torch.cat([backbone.encode_text([text]) for text in TEXTS])
    torch.testing.assert_close(backbone.encode_text(TEXTS, batch_size), one_by_one, atol=1e-6, rtol=0)
    assert backbone.encode_text([]).shape == (0, backbone.embed_dim)
    with pytest.raises(TypeError, match="one string"):
        backbone.encode_text("cat")


def test_autocast_returns_unit_vectors_in_fp32(backbone: Backbone) -> None:
    pixels = torch.randn(2, 3, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image, text = backbone.encode_image(pixels), backbone.encode_text(TEXTS)
        context = backbone.encode_context(torch.randn(2, 3, backbone.text_width))
    for features in (image, text, context):
        assert features.dtype == torch.float32
        torch.testing.assert_close(features.norm(dim=-1), torch.ones(len(features)), atol=1e-6, rtol=0)
    torch.testing.assert_close(text, backbone.encode_text(TEXTS), atol=0.05, rtol=0)


def test_facts(backbone: Backbone, folder: Path, kind: str) -> None:
    assert backbone.source == str(folder)
    assert not backbone.model.training
    assert {(weight.dtype, weight.requires_grad) for weight in backbone.parameters()} == {(torch.float32, False)}
    assert backbone.context_length == {"clip": 48, "siglip": 12}[kind]
    assert (backbone.image_size, backbone.text_width) == (32, 16)
    assert backbone.encode_text(["a"]).shape[1] == backbone.embed_dim == {"clip": 8, "siglip": 16}[kind]
    assert backbone.logit_scale == pytest.approx(math.exp(backbone.model.logit_scale.item()))
    assert not [name for name in backbone.state_dict() if not name.startswith("model.")]


def test_copies_and_pickles_are_equal(backbone: Backbone) -> None:
    for twin in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        torch.testing.assert_close(twin.encode_text(TEXTS), backbone.encode_text(TEXTS), atol=0, rtol=0)
        assert twin.fingerprint == backbone.fingerprint
    assert len(pickle.dumps(backbone.preprocess)) < 1000


def test_too_long_texts_are_named_once_and_keep_their_end(clip: Backbone) -> None:
    long = "cat " * 60
    with pytest.warns(UserWarning, match=r"(?s)1 texts are longer than 48 tokens.*cat cat"):
        cut = clip.encode_text([long, "dog"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(clip.encode_text([long, "dog"]), cut, atol=0, rtol=0)
        fits = clip.encode_text(["cat " * 46])  # one token a word, begin and end: exactly 48
    torch.testing.assert_close(cut[:1], fits, atol=1e-6, rtol=0)


def test_moves_between_devices_take_everything_along(folder: Path) -> None:
    # The meta device fails as soon as one tensor stays behind.
    backbone = Backbone.load(str(folder)).to("meta")
    assert backbone.encode_text(["a cat", "dog"], batch_size=1).device.type == "meta"
    assert backbone.encode_context(torch.randn(1, 2, 16, device="meta"), ["a", "b"]).device.type == "meta"
    assert backbone.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_features(backbone: Backbone) -> None:
    before, mark = backbone.encode_text(TEXTS), backbone.fingerprint
    backbone.to("cuda")
    torch.testing.assert_close(backbone.encode_text(TEXTS).cpu(), before, atol=1e-4, rtol=0)
    assert backbone.fingerprint == mark


def test_weights_loaded_in_inference_mode_can_be_trained(folders: dict[str, Path]) -> None:
    with torch.inference_mode():
        backbone = Backbone.load(str(folders["clip"]))
    backbone.requires_grad_(True).encode_text(["a cat"]).sum().backward()
    assert backbone.model.text_projection.weight.grad is not None


def test_features_survive_peft(backbone: Backbone) -> None:
    from peft import LoraConfig, get_peft_model

    pixels, before = torch.randn(2, 3, 32, 32), backbone.fingerprint
    text, image = backbone.encode_text(TEXTS), backbone.encode_image(pixels)
    backbone.model = get_peft_model(backbone.model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    torch.testing.assert_close(backbone.encode_text(TEXTS), text, atol=0, rtol=0)  # LoRA starts at zero
    torch.testing.assert_close(backbone.encode_image(pixels), image, atol=0, rtol=0)
    (backbone.encode_text(TEXTS)[:, 0].sum() + backbone.encode_image(pixels)[:, 0].sum()).backward()
    grads = [weight.grad for name, weight in backbone.named_parameters() if "lora_B" in name]
    assert len(grads) == 8
    assert all(grad is not None and grad.abs().max() > 0 for grad in grads)
    assert backbone.logit_scale > 0
    assert backbone.fingerprint != before
