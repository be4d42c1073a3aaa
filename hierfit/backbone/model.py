"""`Backbone`: the two towers of a CLIP-like model, as every other room sees them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierfit.backbone.loading import load_parts
from hierfit.backbone.source import find_folder
from hierfit.backbone.text import TextInput
from hierfit.backbone.towers import DualEncoder, Kept
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
        mean: Channel means of the preprocessing `[3]`.
        std: Channel deviations of the preprocessing `[3]`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: DualEncoder, text: TextInput, preprocess: ImageTransform, source: str) -> None:
        super().__init__()
        self.model: Any = model
        self.source = source
        self.preprocess = preprocess
        self._text = text
        config = model.config
        self.embed_dim = config.embed_dim
        self.text_width = config.text_config.hidden_size
        self.image_size = preprocess.size
        self.context_length = text.context_length
        self.register_buffer("mean", torch.tensor(preprocess.mean), persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std), persistent=False)
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
        return cls(*load_parts(find_folder(source), source), source)

    @property
    def device(self) -> torch.device:
        """Where the towers are."""
        return self.mean.device

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
        """Image features.

        Args:
            pixels: Preprocessed pictures `[B, 3, S, S]`.

        Returns:
            L2-normalised features `[B, d]`, fp32.
        """
        if not len(pixels):  # attention takes no empty batch, and a process without a picture must run along
            return self.encode_image(pixels.new_zeros(1, *pixels.shape[1:]))[:0]
        with self._gathering():
            return _normalise(self.model.image_features(pixels))

    def encode_text(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Text features; the batch size changes memory and time only.

        Args:
            texts: T texts. One longer than the context is cut and named in a warning.
            batch_size: Texts that go through the tower at once.

        Returns:
            L2-normalised features `[T, d]`, fp32.
        """
        order, chunks = self.token_chunks(texts, batch_size)
        if not chunks:
            return self.mean.new_zeros(0, self.embed_dim)
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

        Args:
            context: Vectors in token-embedding space `[M, n_ctx, w]`, or `[1, n_ctx, w]` shared by all
                suffixes. Gradients flow back to it, whether the towers are frozen or not.
            suffix: M texts that follow the vectors; None for vectors alone.

        Returns:
            L2-normalised features `[M, d]`, fp32. Token embeddings of real words give exactly the feature of
            these words.

        Raises:
            UserError: `n_ctx` leaves no room in the text tower's context.
        """
        texts = [""] * len(context) if suffix is None else suffix
        if context.shape[2:] != (self.text_width,) or len(context) not in (1, len(texts)):
            expected = f"[{len(texts)} or 1, n_ctx, {self.text_width}]"
            raise ValueError(f"context has shape {list(context.shape)}, expected {expected}")
        rows = self._text.rows(texts, n_context=context.shape[1])
        return self.encode_tokens(self._text.pad(rows, self.device), context)

    def checkpoint_blocks(self) -> None:
        """Has training keep the inputs of the blocks only, and compute what lies between them a second time."""
        for tower in (self.model.vision_model, self.model.text_model):
            tower.encoder.checkpoints = True

    def keep_below(self, tower: Literal["vision_model", "text_model"], first: int, budget: int) -> None:
        """Has a tower compute its blocks below number ``first``, which stay frozen, once for each input; see `Kept`.

        Args:
            tower: Which.
            first: At least 1.
            budget: Bytes that their outputs may take.
        """
        getattr(self.model, tower).kept = Kept(first, budget)

    def shard(self, device: torch.device) -> None:
        """Spreads the towers' frozen weights over all processes (torch's FSDP2); in one process it does nothing.

        Each keeps an equal part of every block, and has the whole of it only while the block runs: all processes must
        then take the same passes together. What is trained stays whole on every process, for DDP to keep alike.

        Args:
            device: Where this process trains.

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
        for tower in (self.model.vision_model, self.model.text_model):
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

    def compile_towers(self) -> None:
        """Compiles both towers, at their next use."""
        for tower in (self.model.vision_model, self.model.text_model):
            tower.compile()

    @torch.no_grad()
    def embed_tokens(self, text: str) -> Tensor:
        """Token embeddings `[T, w]` of a text without its special tokens, to start soft prompts from."""
        ids = torch.tensor(self._text.words(text), dtype=torch.long, device=self.device)
        embedding: Tensor = self.model.text_model.embeddings.token_embedding(ids)
        return embedding.clone()

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
