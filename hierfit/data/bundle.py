"""The interchange format ``hierfit.features/1``: a data set as features, in one safetensors file.

Tensors: ``<split>.features [n, d]``, ``<split>.labels [n]`` (position of the leaf, −1 if unknown),
optionally ``<split>.paths [n, L]`` (node ids, −1 where unknown), ``text.features [C, d]`` (leaves, in
order) or ``text.node_features [N, d]``. Splits are ``train``, ``val``, ``test`` and ready draws
``train<K>``. Metadata: ``format``, ``backbone``, ``logit_scale``, ``levels``, ``paths`` (for each leaf its
names, coarse to fine) and ``note``. Node ids are those of ``Taxonomy.from_paths(paths, levels)``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from hierfit.config.schema import Place, build
from hierfit.data.samples import READY_DRAW, SPLITS
from hierfit.errors import UserError, nearest
from hierfit.taxonomy import Taxonomy
from hierfit.tensors import read_tensors, write_tensors

BUNDLE_FORMAT = "hierfit.features/1"

_BLOCK = 1 << 16  # rows, or bytes
_REALS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@dataclass(frozen=True)
class BundleSplit:
    """Features ``[n, d]``, labels ``[n]`` and, if coarse or partial labels occur, paths ``[n, L]``."""

    features: Tensor
    labels: Tensor
    paths: Tensor | None = None


@dataclass(frozen=True)
class Bundle:
    """A feature bundle in memory.

    Attributes:
        levels: Level names, coarse to fine.
        paths: For each leaf its names, coarse to fine; labels count along this list.
        splits: By name.
        text: Text features of the leaves ``[C, d]``.
        node_text: Text features of all nodes ``[N, d]``.
        backbone: Name of the model that made the features.
        logit_scale: Multiplier of cosine similarities.
        note: Anything else.
    """

    levels: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]
    splits: Mapping[str, BundleSplit]
    text: Tensor | None = None
    node_text: Tensor | None = None
    backbone: str = "unknown"
    logit_scale: float = 100.0
    note: str = ""
    taxonomy: Taxonomy = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "taxonomy", Taxonomy.from_paths(self.paths, self.levels))

    @property
    def leaf_text(self) -> Tensor | None:
        """Text features of the leaves ``[C, d]``, whichever way they are held; None without."""
        if self.text is None and self.node_text is not None:
            return self.node_text[self.taxonomy.resolve(self.paths)]
        return self.text

    @property
    def largest_training(self) -> str | None:
        """Name of the training split or ready draw with the most samples; None without."""
        training = [name for name in self.splits if name.startswith("train")]
        return max(training, key=lambda name: len(self.splits[name].labels), default=None)

    def nodes(self, split: BundleSplit) -> Tensor:
        """The deepest known node of each sample ``[n]``, by the bundle's own tree; −1 where nothing is known."""
        if split.paths is not None:
            return split.paths.long().amax(-1)
        return self.taxonomy.resolve(self.paths)[split.labels.long()]

    def tensors(self) -> dict[str, Tensor]:
        """Every array it has, by its name in the file."""
        named = {"text.features": self.text, "text.node_features": self.node_text}
        for name, split in self.splits.items():
            named |= {f"{name}.features": split.features, f"{name}.labels": split.labels, f"{name}.paths": split.paths}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def problems(self) -> list[str]:
        """Everything that is wrong with shapes and values."""
        if not self.splits:
            return ["it holds no split"]
        width = next(iter(self.splits.values())).features.shape[-1]
        leaves, nodes = len(self.paths), self.taxonomy.num_nodes
        unknown = [name for name in self.splits if name not in SPLITS and not READY_DRAW.fullmatch(name)]
        problems = [f"{name}: unknown split{nearest(name, SPLITS)}" for name in unknown]
        for name, split in self.splits.items():
            n = len(split.features)
            problems += _feature_problems(f"{name}.features", split.features, (n, width))
            faults = _id_problems(f"{name}.labels", split.labels, (n,), leaves)
            if split.paths is not None:
                faults += _id_problems(f"{name}.paths", split.paths, (n, len(self.levels)), nodes)
            elif not faults and (split.labels < 0).any():
                faults = [f"{name}.labels: −1 (unknown leaf) needs {name}.paths beside it"]
            if split.paths is not None and not faults:
                labels, deepest = split.labels.long(), self.nodes(split)
                off_tree = ((split.paths >= 0) & (split.paths != self.taxonomy.paths(deepest))).any(-1)
                other = (labels >= 0) & (self.taxonomy.resolve(self.paths)[labels] != deepest)
                faults = _row_problems(f"{name}.paths", off_tree, "are no path of the tree")
                faults += _row_problems(f"{name}.paths", other, "do not end at their label")
            problems += faults
        for name, text, n in (("features", self.text, leaves), ("node_features", self.node_text, nodes)):
            problems += [] if text is None else _feature_problems(f"text.{name}", text, (n, width))
        return problems


def read_bundle(path: Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        UserError: Names the file and everything that is wrong with it.
    """
    try:
        tensors, metadata = read_tensors(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a readable safetensors file: {error}",
            hint="Check the path; a download that stopped half-way reads like this, too.",
        ) from error
    problems: list[str] = []
    facts, splits = _read_metadata(metadata, problems), _read_splits(tensors, problems)
    facts |= {"text": tensors.get("text.features"), "node_text": tensors.get("text.node_features")}
    try:
        if not problems:
            bundle = Bundle(splits=splits, **facts)
            problems = bundle.problems()
    except UserError as error:
        problems = [f"metadata 'paths': {problem}" for problem in error.problems or (error.summary,)]
    if problems:
        raise UserError(f"{path}: not a sound {BUNDLE_FORMAT} file", problems)
    return bundle


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Write a bundle; the file appears whole or not at all.

    Raises:
        UserError: The bundle is not sound.
    """
    check_sound(path, bundle)
    facts = bundle_metadata(bundle.levels, bundle.paths, bundle.backbone, bundle.logit_scale, bundle.note)
    # Clones: safetensors refuses tensors that share memory, as splits cut from one tensor do.
    write_tensors(path, {k: v.contiguous().clone() for k, v in bundle.tensors().items()}, facts)


def bundle_metadata(
    levels: Sequence[str], paths: Sequence[Sequence[str]], backbone: str, logit_scale: float, note: str
) -> dict[str, str]:
    """What a file says in texts."""
    texts = {"levels": json.dumps(levels), "paths": json.dumps(paths), "note": note}
    return {"format": BUNDLE_FORMAT, "backbone": backbone, "logit_scale": str(logit_scale), **texts}


def check_sound(path: Path, bundle: Bundle) -> None:
    """Raises `UserError` where a bundle that is not sound would be written under a name."""
    if problems := bundle.problems():
        raise UserError(f"{path}: not written, the features are not sound", problems)


def file_fingerprint(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()[:16]


@dataclass(frozen=True)
class _Metadata:
    """What a file says in texts; the defaults are those of `Bundle`."""

    levels: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]
    backbone: str = "unknown"
    logit_scale: float = 100.0
    note: str = ""


def _read_metadata(metadata: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    if (found := metadata.get("format")) != BUNDLE_FORMAT:
        problems.append(f"metadata 'format' is {found!r}, expected {BUNDLE_FORMAT!r}")
        return {}
    values: dict[str, Any] = {key: value for key, value in metadata.items() if key != "format"}
    for key in {"levels", "paths"} & values.keys():
        try:
            values[key] = json.loads(values[key])
        except (ValueError, RecursionError):  # the check of its type says what it should be
            values[key] = None
    with suppress(KeyError, ValueError):
        values["logit_scale"] = float(values["logit_scale"])
    facts = build(_Metadata, values, Place(Path("metadata")), problems)
    return {} if facts is None else vars(facts)


def _read_splits(tensors: Mapping[str, Tensor], problems: list[str]) -> dict[str, BundleSplit]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        split, _, part = name.rpartition(".")
        if split != "text" and part in ("features", "labels", "paths"):
            parts.setdefault(split, {})[part] = tensor
        elif name not in ("text.features", "text.node_features"):
            problems.append(f"unknown tensor {name!r}")
    for split, found in parts.items():
        problems += [f"tensor '{split}.{part}' is missing" for part in ("features", "labels") if part not in found]
    return {} if problems else {split: BundleSplit(**found) for split, found in parts.items()}


def _feature_problems(name: str, features: Tensor, shape: tuple[int, int]) -> list[str]:
    if features.dtype not in _REALS or tuple(features.shape) != shape:
        return [f"{name}: expected numbers of shape {list(shape)}, got {features.dtype} {list(features.shape)}"]
    if not shape[1]:
        return []
    # A block at a time: all as float32 may not fit.
    largest = torch.cat([block.float().abs().amax(-1) for block in features.split(_BLOCK)])
    finite = largest.isfinite()
    faulty = _row_problems(name, ~finite, "hold NaN or infinity")
    return faulty + _row_problems(name, finite & (largest == 0), "are all zero")


def _row_problems(name: str, rows: Tensor, what: str) -> list[str]:
    return [f"{name}: {int(rows.sum())} rows {what}, the first is row {int(rows.nonzero()[0])}"] if rows.any() else []


def _id_problems(name: str, ids: Tensor, shape: tuple[int, ...], limit: int) -> list[str]:
    if ids.dtype not in _INTEGERS or tuple(ids.shape) != shape:
        return [f"{name}: expected whole numbers of shape {list(shape)}, got {ids.dtype} {list(ids.shape)}"]
    outside = ids[(ids < -1) | (ids >= limit)]
    many = f"{name}: {len(outside)} values outside −1 … {limit - 1}, such as "
    return [f"{many}{int(outside[0])}"] if len(outside) else []
