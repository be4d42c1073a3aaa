"""Finished parts put together into one bundle; one part is in memory at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hierfit.atomic import whole_file
from hierfit.backbone.node_encoder import encode_texts
from hierfit.data.bundle import bundle_metadata
from hierfit.data.samples import SPLITS, names_of
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tensors import read_tensors
from hierfit.tools.extract.job import Job

_DTYPE_NAMES = {torch.int64: "I64", torch.float32: "F32", torch.float16: "F16"}


class Extracted(NamedTuple):
    """What a bundle holds: pictures of each split, its classes; and what is wrong with pictures that were passed
    over."""

    images: dict[str, int]
    tree: Taxonomy
    bad: list[str]


def assemble(job: Job, parts: int) -> Extracted:
    """Writes the bundle of a job's parts, all of which are there; without a card's tree, of their labels.

    Raises:
        UserError: A part is damaged (and removed: the same command makes it again), all pictures are bad, or labels
            are not of the tree.
    """
    labels: dict[tuple[str, ...], None] = {}  # of classes: nothing but these and the size of each part is held
    sizes: dict[str, dict[Path, int]] = {}
    bad: list[str] = []
    for path in map(job.part, range(parts)):
        split, size, names, faults = _part_facts(path)
        labels.update(dict.fromkeys(names))
        bad += faults
        if size:
            sizes.setdefault(split, {})[path] = size
    if not labels:
        raise UserError(f"{job.source}: no picture could be used", bad)
    if (tree := job.opened.tree) is None:
        inner = {label[:depth] for label in labels for depth in range(1, len(label))}
        rows = sorted(label for label in labels if label not in inner)
        levels: Sequence[str] = [f"level{depth}" for depth in range(max(map(len, rows)))]
    else:
        rows, levels = list(names_of(tree, tree.leaves)), tree.levels
    tree = Taxonomy.from_paths(rows, levels)
    leaf_of = torch.full((tree.num_nodes,), -1)
    leaf_of[tree.resolve(rows)] = torch.arange(len(rows))
    node = dict(zip(labels, tree.resolve(list(labels)).tolist(), strict=True))

    def of_part(name: str, path: Path) -> Tensor:
        return read_tensors(path, name)[0][name]

    def nodes_in(path: Path) -> Tensor:
        return torch.tensor([node[label] for label in _part_facts(path)[2]])[of_part("labels", path)]

    images = {split: sum(sizes[split].values()) for split in sorted(sizes, key=SPLITS.index)}
    planned: dict[str, Planned] = {}
    for split, n in images.items():
        columns: dict[str, tuple[tuple[int, ...], torch.dtype, Callable[[Path], Tensor]]] = {
            "features": ((job.towers.embed_dim,), job.type, partial(of_part, "features")),
            "labels": ((), torch.int64, lambda path: leaf_of[nodes_in(path)]),
        }
        if any(leaf_of[v] < 0 for v in node.values()):
            columns["paths"] = (tree.num_levels,), torch.int64, lambda path: tree.paths(nodes_in(path))
        for name, (shape, dtype, rows_of) in columns.items():
            planned[f"{split}.{name}"] = Planned((n, *shape), dtype, partial(map, rows_of, sizes[split]))
    text = encode_texts(job.towers, job.opened.texts(tree)).float().cpu()
    planned["text.node_features"] = Planned(tuple(text.shape), torch.float32, lambda: [text])
    note = f"extracted from {Path(job.source).name}"
    metadata = bundle_metadata(tree.levels, rows, job.backbone, job.towers.logit_scale, note)
    write_streaming(job.out, planned, metadata)
    return Extracted(images, tree, bad)


def _part_facts(path: Path) -> tuple[str, int, list[tuple[str, ...]], list[str]]:
    """Split of a part, its pictures, the labels that their numbers stand for, and what is wrong with other pictures."""
    try:
        with safe_open(path, framework="pt") as file:
            facts, size = file.metadata() or {}, file.get_slice("labels").get_shape()[0]
    except (SafetensorError, OSError) as error:
        path.unlink(missing_ok=True)
        hint = "The same command makes it again."
        raise UserError(f"{path}: a damaged part, now removed: {error}", hint=hint) from error
    return facts["split"], size, [tuple(label) for label in json.loads(facts["labels"])], json.loads(facts["bad"])


class Planned(NamedTuple):
    """A tensor to come: its shape and type, and what gives its rows in order, some at a time."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    rows: Callable[[], Iterable[Tensor]]


def write_streaming(path: Path, tensors: Mapping[str, Planned], metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file without holding any of its tensors; it appears whole or not at all.

    Raises:
        ValueError: A tensor's rows are more or fewer than was said.
    """
    # Wide types first: each tensor then starts at a multiple of its own width.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        shape, dtype, _ = tensors[name]
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": _DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(path) as draft, draft.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            (count, *_), dtype, rows_of = tensors[name]
            written = 0
            for rows in rows_of():
                written += len(rows)
                file.write(rows.to(dtype).contiguous().numpy().tobytes())
            if written != count:
                raise ValueError(f"{name}: {written} rows came, {count} were to come")
