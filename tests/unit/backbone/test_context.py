"""Soft prompts: exact, differentiable, and gone without a trace."""

from __future__ import annotations

import pytest
import torch

from hierfit.backbone import Backbone
from hierfit.errors import UserError

WORDS = ["cat", "blue dog", "bird"]


def test_embeddings_of_words_give_exactly_their_features(backbone: Backbone) -> None:
    context = backbone.embed_tokens("a photo of a")
    assert context.shape[1] == backbone.text_width
    prompts = backbone.encode_context(context.expand(3, -1, -1), WORDS)
    # One prompt a time: what is compared is the prompts' place, not how sdpa sums a batch.
    for feature, word in zip(prompts, WORDS, strict=True):
        expected = backbone.encode_text([f"a photo of a {word}"])[0]
        torch.testing.assert_close(feature, expected, atol=1e-6, rtol=0)
        alone = backbone.encode_context(context[None], [word])[0]
        assert (alone - expected).abs().max() == 0.0


def test_gradients_reach_every_vector_of_frozen_towers(backbone: Backbone) -> None:
    context = torch.randn(3, 4, backbone.text_width, requires_grad=True)
    backbone.encode_context(context, WORDS)[:, 0].sum().backward()
    assert context.grad is not None
    assert (context.grad.abs().amax(-1) > 0).all()
    assert all(weight.grad is None for weight in backbone.parameters())


def test_gradient_is_that_of_finite_differences(backbone: Backbone) -> None:
    backbone.double()
    context = torch.randn(2, 2, backbone.text_width, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: backbone.encode_context(c, ["cat", "dog"]), context)


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["token_embedding", "q_proj"]])
def test_works_inside_peft(backbone: Backbone, targets: list[str]) -> None:
    from peft import LoraConfig, get_peft_model

    context = torch.randn(3, 2, backbone.text_width)
    before = backbone.encode_context(context, WORDS)
    backbone.model = get_peft_model(backbone.model, LoraConfig(r=2, target_modules=targets))
    context.requires_grad_()
    after = backbone.encode_context(context, WORDS)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=0)
    after[:, 0].sum().backward()
    assert context.grad is not None
    assert context.grad.abs().max() > 0
    assert any(w.grad is not None for name, w in backbone.named_parameters() if "lora_B" in name and "text" in name)


def test_a_long_suffix_is_cut_before_the_end_of_text(clip: Backbone) -> None:
    context = clip.embed_tokens("a photo of a")
    with pytest.warns(UserWarning, match="longer than 44 tokens"):
        cut = clip.encode_context(context[None], ["cat " * 60])
    fits = clip.encode_context(context[None], ["cat " * 42])
    assert (cut - fits).abs().max() == 0.0


@pytest.mark.parametrize("shape", [(2, 3, 16), (3, 3, 15), (3, 16)])
def test_wrong_shapes_are_refused(backbone: Backbone, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[3 or 1, n_ctx, 16\]"):
        backbone.encode_context(torch.randn(shape), WORDS)
    most = backbone.context_length - 2
    with pytest.raises(UserError, match=f"Use at most {most}"):
        backbone.encode_context(torch.randn(1, most + 1, backbone.text_width))
