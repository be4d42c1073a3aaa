"""Finished parts put together into one bundle; one part is in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hierfit.backbone.nodes import encode_texts
from hierfit.data.bundle import FORMAT
from hierfit.data.table import SPLITS, names_of
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.extract.job import Job
from hierfit.tools.extract.parts import Label
from hierfit.tools.extract.writer import Planned, write_streaming

_SHOWN = 20


@dataclass
class Summary:
    """What a bundle holds.

    Attributes:
        images: Pictures of each split.
        tree: Its classes.
        bad: Pictures that were passed over.
        shown: What is wrong with the first of them.
    """

    images: dict[str, int]
    tree: Taxonomy
    bad: int
    shown: list[str]


def assemble(job: Job, parts: int, tree: Taxonomy | None, texts: Callable[[Taxonomy], list[list[str]]]) -> Summary:
    """Writes the bundle of a job's parts.

    Args:
        job: All of its parts are there.
        parts: How many.
        tree: The classes; None makes them of the labels.
        texts: The prompts of each node of a tree.

    Raises:
        UserError: A part is damaged (and removed: the same command makes it again), all pictures are bad, or labels
            are not of the tree.
    """
    labels: dict[Label, None] = {}  # of classes: nothing but these and a few numbers a part is held
    finished: list[_Finished] = []
    bad, shown = 0, list[str]()
    for number in range(parts):
        facts, size = _read(job.part(number))
        labels.update(dict.fromkeys(_labels(facts)))
        wrong = json.loads(facts["bad"])
        bad, shown = bad + len(wrong), [*shown, *wrong[: _SHOWN - len(shown)]]
        if size:
            finished.append(_Finished(number, facts["split"], size))
    if not labels:
        raise UserError(f"{job.source}: no picture could be used", shown)
    if tree is None:
        inner = {label[:depth] for label in labels for depth in range(1, len(label))}
        rows = sorted(label for label in labels if label not in inner)
        tree = Taxonomy.from_paths(rows, [f"level{depth}" for depth in range(max(map(len, rows)))])
    else:
        rows = list(names_of(tree, tree.leaves))
        tree = Taxonomy.from_paths(rows, tree.levels)
    leaf_of = torch.full((tree.num_nodes,), -1)
    leaf_of[tree.resolve(rows)] = torch.arange(len(rows))
    node = dict(zip(labels, tree.resolve(list(labels)).tolist(), strict=True))
    coarse = bool((leaf_of[list(node.values())] < 0).any())
    planned: dict[str, Planned] = {}
    images: dict[str, int] = {}
    for split in sorted({part.split for part in finished}, key=SPLITS.index):
        own = [part.number for part in finished if part.split == split]
        size = images[split] = sum(part.size for part in finished if part.split == split)
        shape = (size, job.towers.embed_dim)
        planned[f"{split}.features"] = Planned(shape, job.dtype, partial(_features, job, own))
        planned[f"{split}.labels"] = Planned((size,), torch.int64, partial(_nodes, job, own, node, leaf_of.__getitem__))
        if coarse:
            shape = (size, tree.num_levels)
            planned[f"{split}.paths"] = Planned(shape, torch.int64, partial(_nodes, job, own, node, tree.paths))
    text = encode_texts(job.towers, texts(tree)).float().cpu()
    planned["text.node_features"] = Planned(tuple(text.shape), torch.float32, lambda: [text])
    metadata = {
        "format": FORMAT,
        "backbone": job.backbone,
        "logit_scale": str(job.towers.logit_scale),
        "levels": json.dumps(tree.levels),
        "paths": json.dumps(rows, ensure_ascii=False),
        "note": f"extracted from {Path(job.source).name}",
    }
    write_streaming(job.out, planned, metadata)
    return Summary(images, tree, bad, shown)


class _Finished(NamedTuple):
    number: int
    split: str
    size: int


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """What is said of a part, and its pictures."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, file.get_slice("labels").get_shape()[0]
    except (SafetensorError, OSError) as error:
        path.unlink(missing_ok=True)
        raise UserError(
            f"{path}: a damaged part, now removed: {error}", hint="The same command makes it again."
        ) from error


def _tensor(path: Path, name: str) -> Tensor:
    with safe_open(path, framework="pt") as file:
        found: Tensor = file.get_tensor(name)
    return found


def _features(job: Job, parts: Iterable[int]) -> Iterator[Tensor]:
    return (_tensor(job.part(number), "features") for number in parts)


def _nodes(
    job: Job, parts: Iterable[int], node: dict[Label, int], then: Callable[[Tensor], Tensor]
) -> Iterator[Tensor]:
    for number in parts:
        facts, _ = _read(job.part(number))
        yield then(torch.tensor([node[label] for label in _labels(facts)])[_tensor(job.part(number), "labels")])


def _labels(facts: dict[str, Any]) -> list[Label]:
    return [tuple(label) for label in json.loads(facts["labels"])]
