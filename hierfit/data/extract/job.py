"""The work itself: a folder of parts beside the bundle, filled by any number of processes, then put together."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hierfit.atomic import whole_file
from hierfit.backbone import Backbone
from hierfit.backbone.nodes import encode_texts
from hierfit.data.bundle import FORMAT
from hierfit.data.decode import BATCH, decoded, run_padded
from hierfit.data.extract.sources import Label, Part, chunks
from hierfit.data.extract.writer import Planned, write_streaming
from hierfit.data.table import Images
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

PLAN = "plan.json"
_PIECE = 16 * BATCH
_PATIENCE = 0.2  # seconds between looks


@dataclass(frozen=True)
class Job:
    """What is extracted, and where to.

    Attributes:
        out: The bundle.
        source: What the user named.
        backbone: Name of the towers.
        dtype: Of the features.
        images: Gives the pictures of parts that are lists; None for tars.
        skip_bad: Pass over pictures that cannot be read, and say which.
        workers: Processes that decode, for each process that encodes.
    """

    out: Path
    source: str
    backbone: str
    dtype: torch.dtype
    images: Images | None
    skip_bad: bool
    workers: int

    @property
    def folder(self) -> Path:
        """The parts."""
        return self.out.with_name(f".{self.out.name}.parts")

    def plan(self, parts: Iterable[Part]) -> int:
        """Writes what is to be done, unless an earlier call has; the number of parts.

        Raises:
            UserError: The folder holds parts of another job.
        """
        facts = {"source": self.source, "backbone": self.backbone, "dtype": str(self.dtype)}
        path = self.folder / PLAN
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if {**found, "parts": None} != {**facts, "parts": None}:
                raise UserError(
                    f"{self.folder} holds parts of another extraction: {found['source']} by {found['backbone']}",
                    hint="Choose another --out, or remove that folder.",
                )
            return int(found["parts"])
        count = 0
        for number, part in enumerate(parts):
            with whole_file(self.folder / f"{number:06}.json") as draft:
                draft.write_text(part.to_json(), encoding="utf-8")
            count = number + 1
        if not count:
            raise UserError(f"{self.source}: no pictures were found")
        with whole_file(path) as draft:
            draft.write_text(json.dumps({**facts, "parts": count}), encoding="utf-8")
        return count

    def wait_for_plan(self) -> int:
        """The number of parts, once the first process has planned them."""
        while not (self.folder / PLAN).is_file():
            time.sleep(_PATIENCE)
        return int(json.loads((self.folder / PLAN).read_text(encoding="utf-8"))["parts"])

    def work(self, count: int, rank: int, world: int, say: Callable[[str], None]) -> None:
        """Encodes every ``world``-th part that is not there yet.

        Raises:
            UserError: A picture cannot be read, and bad ones are not to be skipped.
        """
        todo = [number for number in range(rank, count, world) if not self._part(number).is_file()]
        if not todo:
            return
        device = f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
        towers = Backbone.load(self.backbone).to(device)
        images, started = 0, time.monotonic()
        for done, number in enumerate(todo, start=1):
            part = Part.from_json((self.folder / f"{number:06}.json").read_text(encoding="utf-8"))
            images += self._encode(part, self._part(number), towers)
            seconds = time.monotonic() - started
            left = seconds / done * (len(todo) - done)
            say(
                f"[{count - len(todo) + done if world == 1 else done}/{count if world == 1 else len(todo)}] "
                f"{images:,} images · {images / seconds:.0f} images/s · {clock(left)} left"
            )

    def _encode(self, part: Part, path: Path, towers: Backbone) -> int:
        features: list[Tensor] = []
        rows: dict[Label, int] = {}
        labels: list[int] = []
        bad: list[str] = []
        for samples, images in chunks(part, self.images, _PIECE):
            keys = [sample.key for sample in samples]
            place = 0
            for batch in decoded(keys, images, towers.preprocess, self.workers):
                if batch.problems and not self.skip_bad:
                    problems = list(batch.problems.values())
                    raise UserError(
                        "pictures cannot be used", problems, "Mend them, or pass over them with --bad skip."
                    )
                bad += batch.problems.values()
                if len(batch.pixels):
                    encoded = run_padded(towers.encode_image, batch.pixels.to(towers.device))
                    features.append(encoded.cpu().to(self.dtype))
                    labels += [rows.setdefault(samples[place + row].label, len(rows)) for row in batch.rows]
                place += batch.size
        facts = {"split": part.split, "labels": json.dumps(list(rows)), "bad": json.dumps(bad)}
        tensors = {"labels": torch.tensor(labels, dtype=torch.long)}
        tensors["features"] = torch.cat(features) if features else torch.zeros(0, 0, dtype=self.dtype)
        with whole_file(path) as draft:
            save_file(tensors, draft, facts)
        return len(labels)

    def wait_for_parts(self, count: int, alive: Callable[[], None]) -> None:
        """Until all parts are there; ``alive`` raises where nobody works on them any more."""
        while not all(self._part(number).is_file() for number in range(count)):
            alive()
            time.sleep(_PATIENCE)

    def assemble(self, count: int, tree: Taxonomy | None, texts: Callable[[Taxonomy], list[list[str]]]) -> Summary:
        """Puts the parts together, one at a time, and removes them.

        Args:
            count: Parts.
            tree: The classes; None makes them of the labels.
            texts: The prompts of each node of a tree.
        """
        parts = [_Finished.read(self._part(number)) for number in range(count)]
        labels = list(dict.fromkeys(label for part in parts for label in part.labels))
        if tree is None:
            inner = {label[:depth] for label in labels for depth in range(1, len(label))}
            rows = sorted(label for label in labels if label not in inner)
            tree = Taxonomy.from_paths(rows, [f"level{depth}" for depth in range(max(map(len, rows)))])
        else:
            rows = [_names(tree, int(leaf)) for leaf in tree.leaves]
            tree = Taxonomy.from_paths(rows, tree.levels)
        leaf_of = dict(zip(tree.resolve(rows).tolist(), range(len(rows)), strict=True))
        node = dict(zip(labels, tree.resolve(labels).tolist(), strict=True))
        coarse = any(node[label] not in leaf_of for label in labels)
        width = max(part.width for part in parts)
        planned: dict[str, Planned] = {}
        for split in dict.fromkeys(part.split for part in parts):
            own = [part for part in parts if part.split == split and part.size]
            size = sum(part.size for part in own)

            def nodes(own: list[_Finished] = own) -> Iterator[Tensor]:
                for part in own:
                    yield torch.tensor([node[label] for label in part.labels])[part.tensor("labels")]

            def leaves(nodes: Callable[[], Iterator[Tensor]] = nodes) -> Iterator[Tensor]:
                table = torch.tensor([leaf_of.get(v, -1) for v in range(tree.num_nodes)])
                return (table[found] for found in nodes())

            def paths(nodes: Callable[[], Iterator[Tensor]] = nodes) -> Iterator[Tensor]:
                return (tree.paths(found) for found in nodes())

            def features(own: list[_Finished] = own) -> Iterator[Tensor]:
                return (part.tensor("features") for part in own)

            planned[f"{split}.features"] = Planned((size, width), self.dtype, features)
            planned[f"{split}.labels"] = Planned((size,), torch.int64, leaves)
            if coarse:
                planned[f"{split}.paths"] = Planned((size, tree.num_levels), torch.int64, paths)
        towers = Backbone.load(self.backbone)
        text = encode_texts(towers, texts(tree)).float()
        planned["text.node_features"] = Planned(tuple(text.shape), torch.float32, lambda: [text])
        facts = {
            "format": FORMAT,
            "backbone": self.backbone,
            "logit_scale": str(towers.logit_scale),
            "levels": json.dumps(tree.levels),
            "paths": json.dumps(rows, ensure_ascii=False),
            "note": f"extracted from {Path(self.source).name}",
        }
        write_streaming(self.out, planned, facts)
        shutil.rmtree(self.folder)
        bad = [line for part in parts for line in part.bad]
        return Summary(sum(part.size for part in parts), tree, bad)

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:06}.safetensors"


@dataclass(frozen=True)
class Summary:
    """What a bundle holds: its pictures, its tree, and what was passed over."""

    images: int
    tree: Taxonomy
    bad: list[str]


@dataclass(frozen=True)
class _Finished:
    path: Path
    split: str
    labels: list[Label]
    bad: list[str]
    size: int
    width: int

    @classmethod
    def read(cls, path: Path) -> _Finished:
        try:
            with safe_open(path, framework="pt") as file:
                facts: dict[str, Any] = file.metadata() or {}
                shape = file.get_slice("features").get_shape()
        except (SafetensorError, OSError) as error:
            path.unlink(missing_ok=True)
            raise UserError(
                f"{path}: a damaged part, now removed: {error}", hint="The same command makes it again."
            ) from error
        labels = [tuple(label) for label in json.loads(facts["labels"])]
        return cls(path, facts["split"], labels, json.loads(facts["bad"]), shape[0], shape[1])

    def tensor(self, name: str) -> Tensor:
        with safe_open(self.path, framework="pt") as file:
            found: Tensor = file.get_tensor(name)
        return found


def clock(seconds: float) -> str:
    """``1:02:03``."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def ranks() -> tuple[int, int]:
    """Number of this process and of all, as torchrun or SLURM says; 0 of 1 otherwise."""
    for number, total in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")):
        if number in os.environ and total in os.environ:
            return int(os.environ[number]), int(os.environ[total])
    return 0, 1


def _names(tree: Taxonomy, node: int) -> Label:
    (path,) = tree.paths(torch.tensor([node])).tolist()
    return tuple(tree.names[v] for v in path if v >= 0)
