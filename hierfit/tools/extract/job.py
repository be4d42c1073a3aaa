"""The work itself: a folder of parts beside the bundle. Each is encoded by one process, in any order."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from hierfit.atomic import whole_file
from hierfit.backbone import Backbone
from hierfit.data.decode import Decoded, through_tower
from hierfit.data.encode import available_cores
from hierfit.data.samples import Images, Sample
from hierfit.errors import UserError
from hierfit.tensors import write_tensors
from hierfit.tools.extract.sources import PictureSource, open_source


@dataclass(frozen=True)
class Job:
    """What the user asks for, the options of ``hierfit features extract``; and which of the processes this one is.

    Attributes:
        workers: Processes that decode; None for as many as there are cores for each that encodes.
        rank: Number of this process among the ``world`` that encode.
        images: Gives the pictures; None until `opened` does.
    """

    source: str
    out: Path
    backbone: str
    root: str | None
    split: str
    dtype: Literal["float16", "float32"]
    skip_bad: bool
    outside: bool
    part_size: int
    workers: int | None
    devices: int
    rank: int = 0
    world: int = 1
    images: Images | None = None

    @cached_property
    def opened(self) -> PictureSource:
        """The pictures, which are not looked for yet."""
        return open_source(self.source, self.root, self.split, self.outside)

    @property
    def folder(self) -> Path:
        """The parts."""
        return self.out.with_name(f".{self.out.name}.parts")

    @property
    def type(self) -> torch.dtype:
        """Of the features."""
        return {"float16": torch.float16, "float32": torch.float32}[self.dtype]

    @cached_property
    def towers(self) -> Backbone:
        """Loaded once, onto this process's device."""
        device = f"cuda:{self.rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
        return Backbone.load(self.backbone).to(device)

    @property
    def decoders(self) -> int:
        """Processes that decode for this one."""
        share = available_cores() // max(self.world, self.devices)
        return max(share, 1) if self.workers is None else self.workers

    def encoded(self, keys: Sequence[str]) -> Iterator[tuple[Decoded, Tensor]]:
        """Batches of pictures, and the features of those that could be decoded."""
        towers, images = self.towers, self.images or self.opened.images
        return through_tower(keys, images.load, towers.preprocess, towers.encode_image, self.decoders, towers.device)

    def part(self, number: int) -> Path:
        """Where the features of a part are, once it is finished; a file of JSON beside it lists its pictures."""
        return self.folder / f"{number:06}.safetensors"

    def planned(self) -> dict[str, Any] | None:
        """What is extracted, and the ``sizes`` of all parts, in pictures; None before `plan` has ended."""
        return json.loads(self._plan.read_text(encoding="utf-8")) if self._plan.is_file() else None

    def plan(self, samples: Iterable[Sample]) -> list[int]:
        """Lists the pictures of each part, all of one split, unless an earlier call has; returns the parts' sizes.

        Raises:
            UserError: The folder holds parts of another job.
        """
        named = Path(self.source).expanduser()
        facts = {
            "source": str(named.resolve()) if named.exists() else self.source,
            "root": self.root,
            "split": self.split,
            "dtype": str(self.type),
            "backbone": self.backbone,
            "weights": self.towers.fingerprint,
        }
        if (planned := self.planned()) is not None:
            if other := [f"{k}: {planned.get(k)}, now {fact}" for k, fact in facts.items() if planned.get(k) != fact]:
                hint = "Choose another --out, or remove that folder."
                raise UserError(f"{self.folder} holds parts of another extraction", other, hint)
            return list(planned["sizes"])
        shutil.rmtree(self.folder, ignore_errors=True)  # a plan that was not finished
        sizes: list[int] = []
        waiting: dict[str, list[Sample]] = {}

        def write(split: str) -> None:
            part = waiting.pop(split)
            listed = {"split": split, "samples": [(sample.key, sample.label) for sample in part]}
            _write_json(self.part(len(sizes)).with_suffix(".json"), listed)
            sizes.append(len(part))

        for sample in samples:
            waiting.setdefault(sample.split, []).append(sample)
            if len(waiting[sample.split]) == self.part_size:
                write(sample.split)
        for split in list(waiting):
            write(split)
        if not sizes:
            raise UserError(f"{self.source}: no pictures were found")
        _write_json(self._plan, {**facts, "sizes": sizes})
        return sizes

    def missing(self, parts: int) -> list[int]:
        """Numbers of the parts that are not there yet."""
        return [number for number in range(parts) if not self.part(number).is_file()]

    def share(self, parts: int) -> Iterator[int]:
        """Encodes this process's share of the missing parts; gives the pictures of each batch when it is done.

        Raises:
            UserError: A picture cannot be read, and bad ones are not to be skipped.
        """
        for number in self.missing(parts):
            if number % self.world == self.rank:
                yield from self._encode(self.part(number))

    def _encode(self, part: Path) -> Iterator[int]:
        listed = json.loads(part.with_suffix(".json").read_text(encoding="utf-8"))
        keys, names = zip(*listed["samples"], strict=True)
        # One tensor from the start: small ones that stay between large ones that go would tear up the heap.
        features = torch.empty(len(keys), self.towers.embed_dim, dtype=self.type)
        rows: dict[tuple[str, ...], int] = {}
        labels: list[int] = []
        bad: list[str] = []
        place = 0
        for batch, encoded in self.encoded(keys):
            if batch.problems and not self.skip_bad:
                hint = "Mend them, or pass over them with --bad skip."
                raise UserError("pictures cannot be used", list(batch.problems.values()), hint)
            bad += batch.problems.values()
            if batch.rows:
                features[len(labels) : len(labels) + len(encoded)] = encoded
                labels += [rows.setdefault(tuple(names[place + row]), len(rows)) for row in batch.rows]
            place += batch.size
            yield batch.size
        facts = {"split": listed["split"], "labels": json.dumps(list(rows)), "bad": json.dumps(bad)}
        tensors = {"labels": torch.tensor(labels, dtype=torch.long), "features": features[: len(labels)].clone()}
        write_tensors(part, tensors, facts)

    def remove(self) -> None:
        """Takes the parts away; the plan first, so that what is left of a killed removal is no work of anybody."""
        self._plan.unlink()
        shutil.rmtree(self.folder)

    @property
    def _plan(self) -> Path:
        return self.folder / "plan.json"


def _write_json(path: Path, content: object) -> None:
    with whole_file(path) as draft:
        draft.write_text(json.dumps(content), encoding="utf-8")
