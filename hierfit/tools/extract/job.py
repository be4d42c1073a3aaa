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
        """Where the features of a part are, once it is finished."""
        return self.folder / f"{number:06}.safetensors"

    def plan(self, samples: Iterable[Sample]) -> list[int]:
        """Writes lists of at most so many pictures as a part has, each of one split, unless an earlier call has.

        Returns:
            The pictures of each part.

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
        if (planned := self._planned()) is not None:
            differing = {key: fact for key, fact in facts.items() if planned.get(key) != fact}
            if other := [f"{key}: {planned.get(key)}, now {fact}" for key, fact in differing.items()]:
                hint = "Choose another --out, or remove that folder."
                raise UserError(f"{self.folder} holds parts of another extraction", other, hint)
            return list(planned["sizes"])
        shutil.rmtree(self.folder, ignore_errors=True)  # a plan that was not finished
        sizes: list[int] = []
        waiting: dict[str, list[Sample]] = {}

        def write(split: str) -> None:
            part = waiting.pop(split)
            with whole_file(self._listed(len(sizes))) as draft:
                listed = {"split": split, "samples": [(sample.key, sample.label) for sample in part]}
                draft.write_text(json.dumps(listed), encoding="utf-8")
            sizes.append(len(part))

        for sample in samples:
            waiting.setdefault(sample.split, []).append(sample)
            if len(waiting[sample.split]) == asked.part:
                write(sample.split)
        for split in list(waiting):
            write(split)
        if not sizes:
            raise UserError(f"{asked.source}: no pictures were found")
        with whole_file(self._plan) as draft:
            draft.write_text(json.dumps({**facts, "sizes": sizes}), encoding="utf-8")
        return sizes

    def sizes(self) -> list[int] | None:
        """The pictures of each part, once they are planned."""
        planned = self._planned()
        return None if planned is None else list(planned["sizes"])

    def missing(self, parts: int) -> list[int]:
        """Numbers of the parts that are not there yet."""
        return [number for number in range(parts) if not self.part(number).is_file()]

    def encode(self, number: int) -> Iterator[int]:
        """Encodes a part; gives the pictures of each batch when it is done.

        Raises:
            UserError: A picture cannot be read, and bad ones are not to be skipped.
        """
        listed = json.loads(self._listed(number).read_text(encoding="utf-8"))
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
        write_tensors(self.part(number), tensors, facts)

    def remove(self) -> None:
        """Takes the parts away; the plan first, so that what is left of a killed removal is no work of anybody."""
        self._plan.unlink()
        shutil.rmtree(self.folder)

    @property
    def _plan(self) -> Path:
        return self.folder / "plan.json"

    def _planned(self) -> dict[str, Any] | None:
        return json.loads(self._plan.read_text(encoding="utf-8")) if self._plan.is_file() else None

    def _listed(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"
