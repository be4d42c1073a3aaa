"""Activations below the first trained block of a tower, computed once for each input."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Below:
    """The frozen blocks of an encoder, whose outputs are kept under the hash of each input row.

    The key is the content, so nothing can be stale while the blocks below stay frozen, and a row that never comes again
    (an augmented picture) is only never found. Where the budget is spent, rows are computed as they come.

    Costs a hash of each row: on a GPU that copies the batch back to the host, so it pays where the tower is the slow
    part, as on a CPU.

    Args:
        encoder: With ``layers``, called with ``inputs_embeds``, as those of transformers' CLIP and SigLIP.
        first: Number of the first block that is trained, at least 1.
        budget: Bytes that the outputs may take.
    """

    def __init__(self, encoder: nn.Module, first: int, budget: int) -> None:
        self._encoder, self._first, self._left = encoder, first, budget
        self._kept: dict[bytes, Tensor] = {}

    @contextmanager
    def skipped(self, rows: Tensor, run: Callable[[Tensor], object]) -> Iterator[None]:
        """While open, the encoder starts at its first trained block, with what the blocks below make of the rows.

        Args:
            rows: One for each sample ``[B, …]``; equal rows have equal outputs below.
            run: Runs the tower on the samples of some numbers ``[b]``.
        """
        keys = [_digest(row, torch.is_autocast_enabled(rows.device.type)) for row in rows.detach().cpu()]
        missing = {key: number for number, key in enumerate(keys) if key not in self._kept}
        fresh: dict[bytes, Tensor] = {}
        if missing:
            numbers = torch.tensor(list(missing.values()), device=rows.device)
            fresh = dict(zip(missing, self._entering(lambda: run(numbers)), strict=True))
            self._keep(fresh)
        hidden = torch.stack([fresh[key] if key in fresh else self._kept[key] for key in keys])
        layers: Any = self._encoder.layers
        handle = self._encoder.register_forward_pre_hook(
            lambda module, args, kwargs: (args, {**kwargs, "inputs_embeds": hidden}), with_kwargs=True
        )
        self._encoder.layers = layers[self._first :]
        try:
            yield
        finally:
            self._encoder.layers = layers
            handle.remove()

    @torch.inference_mode(False)
    def _keep(self, fresh: Mapping[bytes, Tensor]) -> None:
        for key, hidden in fresh.items():
            if hidden.nbytes <= self._left:
                self._left -= hidden.nbytes
                self._kept[key] = hidden.clone()  # a view would keep its whole batch

    @torch.inference_mode(False)  # what is made in a validation is trained on later
    @torch.no_grad()
    def _entering(self, run: Callable[[], object]) -> Tensor:
        """What enters the first trained block; nothing above it is computed."""

        def stop(module: nn.Module, args: Any, kwargs: Any) -> None:
            raise _Reached(args[0] if args else kwargs["hidden_states"])

        layers: Any = self._encoder.layers
        handle = layers[self._first].register_forward_pre_hook(stop, with_kwargs=True)
        try:
            run()
        except _Reached as reached:
            return reached.hidden
        finally:
            handle.remove()
        raise AssertionError("the tower did not reach its blocks")


class _Reached(Exception):  # noqa: N818  (no error: it ends a run that has gone far enough)
    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden


def _digest(row: Tensor, autocast: bool) -> bytes:
    content = row.contiguous().flatten().view(torch.uint8).numpy()
    # Under autocast the blocks below give other numbers.
    return hashlib.blake2b(content.data, digest_size=16, person=b"half" if autocast else b"").digest()
