"""The work itself: a folder of parts beside the bundle. Each is encoded by one process, in any order."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from hierfit.atomic import whole_file
from hierfit.backbone import Backbone
from hierfit.data.decode import decoded, run_padded
from hierfit.data.samples import Images, Sample
from hierfit.errors import UserError
from hierfit.tensors import write_tensors


@dataclass(frozen=True)
class Request:
    """What the user asks for; the options of ``hierfit features extract``. Workers None: as many as there are cores."""

    source: str
    out: Path
    backbone: str
    root: str | None
    split: str
    dtype: str
    skip_bad: bool
    outside: bool
    part: int
    workers: int | None
    devices: int


@dataclass(frozen=True)
class Job:
    """What is extracted, and where to, by the process of this rank among those that encode; each has so many workers
    that decode."""

    asked: Request
    images: Images
    workers: int
    rank: int = 0

    @property
    def folder(self) -> Path:
        """The parts."""
        return self.asked.out.with_name(f".{self.asked.out.name}.parts")

    @property
    def dtype(self) -> torch.dtype:
        """Of the features."""
        found: torch.dtype = getattr(torch, self.asked.dtype)
        return found

    @cached_property
    def towers(self) -> Backbone:
        """Loaded once, onto this process's device."""
        device = f"cuda:{self.rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
        return Backbone.load(self.asked.backbone).to(device)

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
        asked, named = self.asked, Path(self.asked.source).expanduser()
        facts = {
            "source": str(named.resolve()) if named.exists() else asked.source,
            "root": asked.root,
            "split": asked.split,
            "dtype": str(self.dtype),
            "backbone": asked.backbone,
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
            if len(waiting[sample.split]) == asked.part:
                write(sample.split)
        for split in list(waiting):
            write(split)
        if not sizes:
            raise UserError(f"{asked.source}: no pictures were found")
        _write_json(self._plan, {**facts, "sizes": sizes})
        return sizes

    def missing(self, parts: int) -> list[int]:
        """Numbers of the parts that are not there yet."""
        return [number for number in range(parts) if not self.part(number).is_file()]

    def share(self, parts: int, world: int) -> Iterator[int]:
        """Encodes the missing parts of one process of so many; gives the pictures of each batch when it is done.

        Raises:
            UserError: A picture cannot be read, and bad ones are not to be skipped.
        """
        for number in self.missing(parts):
            if number % world == self.rank:
                yield from self._encode(self.part(number))

    def _encode(self, part: Path) -> Iterator[int]:
        listed = json.loads(part.with_suffix(".json").read_text(encoding="utf-8"))
        keys = [key for key, _ in listed["samples"]]
        # One tensor from the start: small ones that stay between large ones that go would tear up the heap.
        features = torch.empty(len(keys), self.towers.embed_dim, dtype=self.dtype)
        rows: dict[tuple[str, ...], int] = {}
        labels: list[int] = []
        bad: list[str] = []
        place = 0
        for batch in decoded(keys, self.images, self.towers.preprocess, self.workers):
            if batch.problems and not self.asked.skip_bad:
                hint = "Mend them, or pass over them with --bad skip."
                raise UserError("pictures cannot be used", list(batch.problems.values()), hint)
            bad += batch.problems.values()
            if batch.rows:
                encoded = run_padded(self.towers.encode_image, batch.pixels.to(self.towers.device))
                features[len(labels) : len(labels) + len(encoded)] = encoded
                found = (tuple(listed["samples"][place + row][1]) for row in batch.rows)
                labels += [rows.setdefault(label, len(rows)) for label in found]
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
