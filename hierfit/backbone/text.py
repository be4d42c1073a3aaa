"""From texts to the padded token ids a text tower was trained on."""

from __future__ import annotations

import string
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hierfit.backbone.config import DualConfig, TextConfig
from hierfit.errors import UserError

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class TextInput:
    """Tokenises by a tokenizer of transformers, cuts and pads; ``plain`` takes punctuation away first.

    CLIP is causal and reads its feature at the end-of-text token, which sees nothing behind it: padding to the longest
    text is exact without a mask, and much cheaper than to the whole context. SigLIP is bidirectional, reads the last
    position and saw no mask: it always gets the whole context, and lower case.

    Attributes:
        context_length: Most tokens a text may have, special ones included.
        start: Position of the first token after the beginning-of-text token.
    """

    def __init__(self, tokenizer: Any, config: DualConfig, where: str, plain: bool = False) -> None:
        self._tokenizer, self._plain, self._is_clip = tokenizer, plain, config.model_type == "clip"
        self._warned: set[str] = set()
        self.context_length: int = config.text_config.max_position_embeddings
        bos, eos, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        self._pad: int = eos if self._is_clip or pad is None else pad
        # Stands where a soft prompt goes; only its being another token than the one CLIP looks for matters.
        self._placeholder = 0 if eos != 0 else 1
        probe = self._encode(["a"])[0]
        self.start = int(bos is not None and probe[0] == bos)
        self._check(probe, config.text_config, where)

    def rows(self, texts: Sequence[str], n_context: int = 0) -> list[list[int]]:
        """Token ids of each text, with `n_context` placeholders after the beginning-of-text token.

        A text that does not fit the context is cut before its end-of-text token; a warning names it, once.

        Raises:
            UserError: The placeholders leave no room for the special tokens.
        """
        if isinstance(texts, str):
            raise TypeError("texts is one string, not a sequence of texts")
        room = self.context_length - n_context
        if room < 2:
            summary = f"{n_context} context vectors do not fit a text tower of {self.context_length} tokens"
            raise UserError(summary, hint=f"Use at most {self.context_length - 2}.")
        rows = self._encode(texts) if texts else []
        cut = dict.fromkeys(text for text, row in zip(texts, rows, strict=True) if len(row) > room)
        if new := [text for text in cut if text not in self._warned]:
            self._warned.update(new)
            shown = "".join(f"\n  - {text}" for text in new[:20]) + ("\n  …" if len(new) > 20 else "")
            warnings.warn(f"{len(new)} texts are longer than {room} tokens and were cut:{shown}", stacklevel=3)
        rows = [row if len(row) <= room else [*row[: room - 1], row[-1]] for row in rows]
        holes = [self._placeholder] * n_context
        return [[*row[: self.start], *holes, *row[self.start :]] for row in rows]

    def pad(self, rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
        """Stacks rows of ids into one batch ``[T, S]``."""
        ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=self._pad)
        if not self._is_clip:
            ids = torch.nn.functional.pad(ids, (0, self.context_length - ids.shape[1]), value=self._pad)
        return ids.to(device, non_blocking=True)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special ones included, before anything is cut."""
        return [len(row) for row in self._encode(texts)] if texts else []

    def words(self, text: str) -> list[int]:
        """Token ids of a text without special tokens."""
        return list(self._tokenizer(self._cased(text), add_special_tokens=False, verbose=False)["input_ids"])

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        # verbose=False: the tokenizer would warn of long texts, which we cut and name ourselves.
        return list(self._tokenizer([self._cased(text) for text in texts], verbose=False)["input_ids"])

    def _cased(self, text: str) -> str:
        # SigLIP was trained on lower case without punctuation; not every tokenizer published with it sees to that.
        if self._plain:
            text = " ".join(text.replace("_", " ").translate(_NO_PUNCTUATION).split())
        return text if self._is_clip else text.lower()

    def _check(self, probe: list[int], text_config: TextConfig, where: str) -> None:
        """Refuses the faults of folders that would load, and silently give wrong features."""
        problems = []
        known, rows = len(self._tokenizer), text_config.vocab_size
        if known > rows:
            problems.append(f"the tokenizer has {known} tokens, but the text tower embeds only {rows}")
        if known < rows / 2:
            problems.append(f"the tokenizer has {known} tokens of the {rows} the text tower embeds")
        if self._is_clip:
            end, looked_for = self._tokenizer.eos_token_id, text_config.eos_token_id
            if probe[-1] != end:
                problems.append("the tokenizer puts no end-of-text token behind a text")
            # The first conversions said 2 whatever the token was; transformers takes the highest id for them.
            if looked_for == 2 and end != known - 1:
                problems.append(f"text_config.eos_token_id 2 means the highest token id, but {end} ends a text")
            if looked_for != 2 and looked_for != end:
                problems.append(f"text_config.eos_token_id is {looked_for}, but {end} ends a text")
        if problems:
            raise UserError(f"{where}: tokenizer and text tower do not fit together", problems)
