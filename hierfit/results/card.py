"""The result card: what a run leaves for every table, plot and comparison made later."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt, Lt

from hierfit.atomic import whole_file
from hierfit.config.schema import Place, as_type, build
from hierfit.errors import UserError

FORMAT = "hierfit.result/1"
FILE = "result.json"

_Whole = Annotated[int, Gt(-1e18), Lt(1e18)]
_Number = Annotated[float, Gt(-1e18), Lt(1e18)]  # NaN lies within no bounds
_Figure = _Number | None
_FiguresByName = Mapping[str, _Figure]


def _holds(kind: Any) -> Mapping[str, Any]:
    """For a field that holds anything: the types of those of its parts that tables read, ``!`` on those it must have.

    What is read stays as it is.
    """

    def parse(value: Any, place: Place, problems: list[str]) -> Any:
        if not isinstance(kind, dict) or not isinstance(value, dict):
            as_type(Mapping[str, Any] if isinstance(kind, dict) else kind, value, place, problems)
            return value
        for key, part in kind.items():
            if (name := key.rstrip("!")) in value:
                _holds(part)["parse"](value[name], place.at(name), problems)
            elif name != key:
                problems.append(f"{place.at(name)}: this key is missing")
        return value

    return {"parse": parse}


@dataclass
class _OwnMetric:
    header: str
    unit: str
    higher_is_better: bool | None


_BELIEF = {
    **{"scores": str, "temperature": _Figure, "val_images": _Figure, "max_error": Mapping[str, _FiguresByName]},
    "curve": {"error!": list[_Number], "information!": list[_Number]},
}
_OF_DATA = {
    **{"card!": str, "shots": _Whole | None, "images": _FiguresByName, "levels": _FiguresByName},
    "draw": Mapping[str, str | None],
}
_COST = dict.fromkeys(("train_seconds", "test_seconds", "steps", "peak_memory_mib"), _Figure)


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
    seed: _Whole
    data: Mapping[str, Any] = field(metadata=_holds(_OF_DATA))
    backbone: Mapping[str, Any] = field(metadata=_holds({"source!": str}))
    selected_on: str
    levels: tuple[str, ...]
    metrics: Mapping[str, Mapping[str, float | None]] = field(metadata=_holds(Mapping[str, _FiguresByName]))
    val: Mapping[str, float] = field(default_factory=dict, metadata=_holds(_FiguresByName))
    parameters: Mapping[str, _Whole] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict, metadata=_holds(_COST))
    versions: Mapping[str, Any] = field(default_factory=dict)
    method_settings: Mapping[str, Any] = field(default_factory=dict)
    tuned_on: str = "defaults"
    belief: Mapping[str, Any] = field(default_factory=dict, metadata=_holds(_BELIEF))
    own_metrics: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict, metadata=_holds(Mapping[str, _OwnMetric])
    )

    def write(self, folder: Path) -> Path:
        """Writes ``result.json`` into a run folder, whole or not at all; NaN becomes null."""
        path = folder / FILE
        content = {"format": FORMAT, **_without_nan(asdict(self))}
        if not self.own_metrics:
            del content["own_metrics"]
        with whole_file(path) as draft:
            draft.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
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
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise UserError(f"{path} is not a result card of format {FORMAT}.")
        problems: list[str] = []
        found = build(cls, content, Place(path), problems)
        if found is None or not found.levels:
            raise UserError(f"{path} is not a sound result card.", problems or ["levels is empty"])
        return found


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


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
