"""The result card: what a run leaves for every table, plot and comparison made later."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hierfit.atomic import whole_file
from hierfit.errors import UserError

FORMAT = "hierfit.result/1"
FILE = "result.json"


@dataclass(frozen=True)
class ResultCard:
    """Facts of one run on one test split.

    Attributes:
        row: What the run is called in a table, such as ``LatHAdapter`` or ``zero-shot``.
        experiment: Name of the experiment it belongs to.
        method: Class that scored the nodes.
        seed: Seed of the few-shot draw and of training.
        data: Card, version, tree, split sizes, shots and hash of the draw.
        backbone: Source and fingerprint of the towers, or of the feature bundle.
        selected_on: What chose the checkpoint: ``val``, ``last step`` or ``nothing`` (no training).
        tuned_on: What chose the hyper-parameters: ``defaults``, or the split they were searched on, such as ``val``.
        levels: Level names, coarse to fine.
        metrics: Fractions in [0, 1] (distances in edges) by decoder and metric;
            None where a metric is undefined (the severity of mistakes where there are none).
        belief: How logits became probabilities (``scores``, ``temperature``, ``val_images``, …), and how those that are
            served did on test: see `hierfit.metrics.served`.
        val: The validation metrics of the chosen checkpoint; empty without selection.
        parameters: Trainable ones, and all with the towers (0 when the towers are unknown).
        cost: Seconds of training and testing, steps, peak memory in MiB, device.
        versions: Of hierfit, its libraries and the commit.
        method_settings: The method's configuration.
        own_metrics: Header, unit and direction of metrics that hierfit does not bring, see `hierfit.metrics.describe`.
    """

    row: str
    experiment: str
    method: str
    seed: int
    data: Mapping[str, Any]
    backbone: Mapping[str, Any]
    selected_on: str
    levels: tuple[str, ...]
    metrics: Mapping[str, Mapping[str, float | None]]
    val: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    method_settings: Mapping[str, Any] = field(default_factory=dict)
    tuned_on: str = "defaults"
    belief: Mapping[str, Any] = field(default_factory=dict)
    own_metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Writes ``result.json`` into a run folder, whole or not at all; NaN becomes null."""
        path = folder / FILE
        content = {"format": FORMAT, **_without_nan(asdict(self))}
        if not self.own_metrics:
            del content["own_metrics"]
        text = json.dumps(content, indent=1, allow_nan=False)
        with whole_file(path) as draft:
            draft.write_text(text + "\n", encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> ResultCard:
        """Reads a card from its file or its run folder.

        Raises:
            UserError: There is no card, or it is not one.
        """
        path = path / FILE if path.is_dir() else path
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: that run has not finished.") from None
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(f"{path} cannot be read as a result card: {error}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UserError(f"{path} is not a result card of format {FORMAT}.")
        del content["format"]
        known = {f.name for f in fields(cls)}
        needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
        problems = [f"{name} is missing" for name in needed if name not in content]
        problems += [f"{name} is not a field of a card" for name in content if name not in known]
        present = known & content.keys()
        problems += [f"{name} is not as in a card" for name in present if not _KINDS[name](content[name])]
        if problems:
            raise UserError(f"{path} is not a sound result card.", sorted(problems))
        content["levels"] = tuple(content["levels"])
        return cls(**content)


def shots_text(data: Mapping[str, Any]) -> str:
    """From a card's data: ``16 shots a leaf``, ``≤ 16 shots a leaf (median 3)`` where some leaves have fewer."""
    shots, counts = data.get("shots"), data.get("train_per_leaf")
    if drawn := data.get("drawn"):
        return f"{drawn} shots a leaf"
    if shots is None:
        return "all training images"
    if isinstance(counts, Mapping):
        least, median = counts.get("min"), counts.get("median")
        if isinstance(least, int | float) and isinstance(median, int | float) and least < shots:
            return f"≤ {shots} shots a leaf (median {median:g})"
    return f"{shots} shots a leaf"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return type(value) is int and abs(value) < _TOO_LARGE


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < _TOO_LARGE  # type: ignore[arg-type]  # NaN is not less


def _is_figure(value: object) -> bool:
    return value is None or _is_number(value)


def _all(kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, dict) and all(map(kind, value.values()))


def _has(**kinds: Callable[[object], bool]) -> Callable[[object], bool]:
    """A dictionary whose entries of these names, where it has them, are of these kinds."""
    return lambda value: isinstance(value, dict) and all(kinds[k](v) for k, v in value.items() if k in kinds)


_TOO_LARGE = 1e18
_KINDS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("row", "experiment", "method", "selected_on", "tuned_on"), _is_text),
    "seed": _is_whole,
    "levels": lambda value: isinstance(value, list) and bool(value) and all(map(_is_text, value)),
    "metrics": _all(_all(_is_figure)),
    "val": _all(_is_figure),
    "parameters": _all(_is_whole),
    "data": lambda value: (
        _has(card=_is_text, shots=lambda v: v is None or _is_whole(v))(value)
        and _has(images=_all(_is_figure), levels=_all(_is_figure), draw=_all(lambda v: v is None or _is_text(v)))(value)
        and "card" in value  # type: ignore[operator]
    ),
    "backbone": lambda value: _has(source=_is_text)(value) and "source" in value,  # type: ignore[operator]
    "cost": _has(**dict.fromkeys(("train_seconds", "test_seconds", "steps", "peak_memory_mib"), _is_figure)),
    "versions": lambda value: isinstance(value, dict),
    "method_settings": lambda value: isinstance(value, dict),
    "own_metrics": _all(
        lambda value: (
            _has(header=_is_text, unit=_is_text, higher_is_better=lambda v: v is None or isinstance(v, bool))(value)
            and value.keys() == {"header", "unit", "higher_is_better"}  # type: ignore[attr-defined]
        )
    ),
    "belief": _has(scores=_is_text, **dict.fromkeys(("temperature", "val_images"), _is_figure)),
}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
