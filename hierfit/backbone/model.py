"""`Backbone`: the two towers of a CLIP-like model, as every other room sees them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierfit.backbone.loading import load_parts
from hierfit.backbone.text import TextInput
from hierfit.backbone.towers import DualEncoder
from hierfit.backbone.transform import ImageTransform
from hierfit.distributed import processes
from hierfit.errors import UserError

# What changes a tower's output and leaves no trace in the names and shapes of its weights.
_SILENT_SETTINGS = ("hidden_act", "layer_norm_eps", "num_attention_heads", "patch_size", "eos_token_id")
_PROBE = "A photo of two Red-legged Kittiwakes (Rissa brevirostris), 1993."


class Backbone(nn.Module):
    """An image tower and a text tower that share a feature space (CLIP, SigLIP).

    Features come out L2-normalised in fp32, also under autocast. The towers are frozen and in eval mode after
    `load`; `model` may be wrapped by peft at any time, nothing here holds on to its inner modules.

    Attributes:
        model: The towers, or peft's wrapper around them.
        source: What it was loaded from.
        preprocess: Turns a `PIL.Image` into `[3, S, S]` float32; picklable without the towers.
        embed_dim: Width d of a feature.
        text_width: Width w of a token embedding.
        image_size: Side S of the image tower's input, pixels.
        context_length: Most tokens of a text, special ones included.
    """

    def __init__(self, model: DualEncoder, text: TextInput, preprocess: ImageTransform, source: str) -> None:
        super().__init__()
        self.model: Any = model
        self.source, self.preprocess, self._text = source, preprocess, text
        self.embed_dim = model.config.embed_dim
        self.text_width = model.config.text_config.hidden_size
        self.image_size = preprocess.size
        self.context_length = text.context_length
        self._hashed: tuple[object, str] | None = None
        self._sharded = False

    @classmethod
    @torch.inference_mode(False)  # weights made in inference mode could never be trained
    def load(cls, source: str) -> Backbone:
        """Loads a backbone.

        Args:
            source: `tiny` (bundled), a folder as `save_pretrained` writes it, or a hub name `owner/name`,
                `owner/name@revision`; a model in the hub cache needs no network.

        Raises:
            UserError: Not found, out of reach, incomplete, damaged, or not a CLIP or SigLIP.
        """
        return cls(*load_parts(source), source)

    @property
    def towers(self) -> tuple[Any, Any]:
        """The image tower and the text tower, whatever is wrapped around both."""
        return self.model.vision_model, self.model.text_model

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.logit_scale.device
        return device

    @property
    def logit_scale(self) -> float:
        """Multiplier of cosine similarities the towers were trained with (CLIP: about 100)."""
        return float(self.model.logit_scale.detach().exp())

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of the weights and of everything else that decides the features.

        Equal for equal content in any process and on any device. It follows the weights: it is kept until one
        of them changes, so a trained or peft-wrapped backbone never passes for the one it was loaded as.
        """
        weights = self.model.state_dict()
        state = tuple((w.data_ptr(), w.dtype, w.device, w._version) for w in weights.values())
        if self._hashed is None or self._hashed[0] != state:
            self._hashed = state, self._hash(weights)
        return self._hashed[1]

    def encode_image(self, pixels: Tensor) -> Tensor:
        """L2-normalised features `[B, d]`, fp32, of preprocessed pictures `[B, 3, S, S]`."""
        if not len(pixels):  # attention takes no empty batch, and a process without a picture must run along
            return self.encode_image(pixels.new_zeros(1, *pixels.shape[1:]))[:0]
        with self._gathering():
            return _normalise(self.model.image_features(pixels))

    def encode_text(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """L2-normalised features `[T, d]`, fp32, of T texts; the batch size changes memory and time only.

        A text longer than the context is cut and named in a warning.
        """
        order, chunks = self.token_chunks(texts, batch_size)
        if not chunks:
            return torch.zeros(0, self.embed_dim, device=self.device)
        features = torch.cat([self.encode_tokens(ids) for ids in chunks])
        return features[torch.tensor(order, device=features.device).argsort()]

    def token_chunks(self, texts: Sequence[str], size: int, n_context: int = 0) -> tuple[list[int], list[Tensor]]:
        """Tokenises texts, like lengths together, so that each chunk is padded to its own longest only.

        Args:
            texts: T texts. One longer than the context is cut and named in a warning.
            size: Most texts a chunk.
            n_context: Places left for a soft prompt before each text.

        Returns:
            Which text stands at each place of the chunks laid end to end ``[T]``, and the ids of each chunk ``[t, S]``.
        """
        rows = self._text.rows(texts, n_context)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        chunks = [order[i : i + size] for i in range(0, len(order), size)]
        return order, [self._text.pad([rows[i] for i in chunk], self.device) for chunk in chunks]

    def encode_tokens(self, ids: Tensor, context: Tensor | None = None) -> Tensor:
        """Text features of one chunk of `token_chunks`: L2-normalised ``[T, d]``, fp32; `context` as in
        `encode_context`."""
        if context is not None:
            context = context.expand(len(ids), -1, -1)
        with self._gathering():
            return _normalise(self.model.text_features(ids, context, self._text.start))

    def encode_context(self, context: Tensor, suffix: Sequence[str] | None = None) -> Tensor:
        """Text features of soft prompts: learnable vectors in place of words (CoOp, Zhou et al. 2022).

        Token embeddings of real words give exactly the feature of these words.

        Args:
            context: Vectors in token-embedding space `[M, n_ctx, w]`, or `[1, n_ctx, w]` shared by all
                suffixes. Gradients flow back to it, whether the towers are frozen or not.
            suffix: M texts that follow the vectors; None for vectors alone.

        Returns:
            L2-normalised features `[M, d]`, fp32.

        Raises:
            UserError: `n_ctx` leaves no room in the text tower's context.
        """
        texts = [""] * len(context) if suffix is None else suffix
        if context.shape[2:] != (self.text_width,) or len(context) not in (1, len(texts)):
            expected = f"[{len(texts)} or 1, n_ctx, {self.text_width}]"
            raise ValueError(f"context has shape {list(context.shape)}, expected {expected}")
        rows = self._text.rows(texts, n_context=context.shape[1])
        return self.encode_tokens(self._text.pad(rows, self.device), context)

    @torch.no_grad()
    def embed_tokens(self, text: str) -> Tensor:
        """Token embeddings `[T, w]` of a text without its special tokens, to start soft prompts from."""
        ids = torch.tensor(self._text.words(text), dtype=torch.long, device=self.device)
        embedding: Tensor = self.model.text_model.embeddings.token_embedding(ids)
        return embedding.clone()

    def shard(self, device: torch.device) -> None:
        """Spreads the towers' frozen weights over all processes (torch's FSDP2); in one process it does nothing.

        Each keeps an equal part of every block, and has the whole of it, on the device where it trains, only while the
        block runs: all processes must then take the same passes together. What is trained stays whole on every process,
        for DDP to keep alike.

        Raises:
            UserError: torch is too old.
        """
        if processes() == 1:
            return
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        if "ignored_params" not in signature(fully_shard).parameters:
            raise UserError(f"torch {torch.__version__} cannot shard frozen weights alone", hint="It takes torch 2.7.")
        mesh = init_device_mesh(device.type, (processes(),))
        trained = {parameter for parameter in self.parameters() if parameter.requires_grad}
        for tower in self.towers:
            for part in (*tower.encoder.layers, tower):
                fully_shard(part, mesh=mesh, reshard_after_forward=True, ignored_params=trained)
        self._sharded = True

    @contextmanager
    def _gathering(self) -> Iterator[None]:
        # Room for gathered weights is made once: made in inference mode, it could not be trained through later.
        if self._sharded and torch.is_inference_mode_enabled():
            with torch.inference_mode(False), torch.no_grad():
                yield
        else:
            yield

    def _hash(self, weights: dict[str, Tensor]) -> str:
        config = self.model.config
        settings = {
            "model_type": config.model_type,
            "preprocess": dataclasses.asdict(self.preprocess),
            "text": {key: getattr(config.text_config, key, None) for key in _SILENT_SETTINGS},
            "vision": {key: getattr(config.vision_config, key, None) for key in _SILENT_SETTINGS},
            # A broken tokenizer that was mended must not find its old text features.
            "tokens": self._text.words(_PROBE),
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name, tensor in sorted(weights.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()


def _normalise(features: Tensor) -> Tensor:
    return F.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=-1)
