"""The hash that tells whether two runs would give the same figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from hierfit.config.signature import plain

WITHOUT_EFFECT = (
    *("runs", "folder", "controls", "wandb", "test", "resume", "save_every", "weights_only", "verbose"),
    *("data.num_workers", "data.cache_dir", "trainer.enable_progress_bar", "trainer.default_root_dir"),
    "model.init_args.shard",
)
"""Keys of a configuration that change no figure of the run itself."""


def run_digest(settings: Mapping[str, Any], card: str) -> str:
    """sha256 (hex) of a run's settings without those that change no figure, the data card's content and the version.

    Args:
        settings: The resolved configuration, as plain containers.
        card: Fingerprint of the data card.
    """
    return digest_of({"hierfit": version("hierfit"), "card": card, "settings": without(settings, WITHOUT_EFFECT)})


def without(settings: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Settings without some dotted keys; what was given stays as it is."""
    found: dict[str, Any] = plain(settings)
    for key in keys:
        *groups, name = key.split(".")
        place = found
        for group in groups:
            place = place.get(group) or {}
        place.pop(name, None)
    return found


def digest_of(content: object) -> str:
    """sha256 (hex) of plain containers; keys at null count as absent.

    So a later version's new key, left alone, does not make what is finished new.
    """
    return hashlib.sha256(json.dumps(_set(content), sort_keys=True).encode()).hexdigest()


def _set(content: object) -> object:
    if isinstance(content, Mapping):
        return {key: _set(value) for key, value in content.items() if value is not None}
    return [_set(value) for value in content] if isinstance(content, list) else content
