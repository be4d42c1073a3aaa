"""The work itself: a folder of parts beside the bundle. Each is encoded by one process, in any order."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from hierfit.atomic import whole_file
from hierfit.backbone import Backbone
from hierfit.data.decode import BATCH, decoded, run_padded
from hierfit.data.samples import Images, Sample
from hierfit.errors import UserError
from hierfit.tensors import write_tensors
from hierfit.tools.extract.sources import Part, tar_pieces

_PLAN = "plan.json"
_PIECE = 16 * BATCH


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
    """What is extracted, and where to.

    Attributes:
        asked: By the user.
        images: Gives the pictures of parts that are lists; None for tars.
        workers: Processes that decode, for each process that encodes.
        device: Number of the GPU, where there are any.
    """

    asked: Request
    images: Images | None
    workers: int
    device: int = 0

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
        device = f"cuda:{self.device % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
        return Backbone.load(self.asked.backbone).to(device)

    def part(self, number: int) -> Path:
        """Where the features of a part are, once it is finished."""
        return self.folder / f"{number:06}.safetensors"

    def plan(self, parts: Iterable[Part]) -> list[int]:
        """Writes what is to be done, unless an earlier call has; the pictures of each part.

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
        path = self.folder / _PLAN
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if other := [f"{key}: {found.get(key)}, now {facts[key]}" for key in facts if found.get(key) != facts[key]]:
                raise UserError(
                    f"{self.folder} holds parts of another extraction",
                    other,
                    "Choose another --out, or remove that folder.",
                )
            return list(found["sizes"])
        shutil.rmtree(self.folder, ignore_errors=True)  # a plan that was not finished
        sizes = []
        for number, part in enumerate(parts):
            with whole_file(self._listed(number)) as draft:
                draft.write_text(part.to_json(), encoding="utf-8")
            sizes.append(part.size)
        if not sizes:
            raise UserError(f"{asked.source}: no pictures were found")
        with whole_file(path) as draft:
            draft.write_text(json.dumps({**facts, "sizes": sizes}), encoding="utf-8")
        return sizes

    def sizes(self) -> list[int] | None:
        """The pictures of each part, once they are planned."""
        path = self.folder / _PLAN
        return list(json.loads(path.read_text(encoding="utf-8"))["sizes"]) if path.is_file() else None

    def missing(self, parts: int) -> list[int]:
        """Numbers of the parts that are not there yet."""
        return [number for number in range(parts) if not self.part(number).is_file()]

    def encode(self, number: int) -> Iterator[int]:
        """Encodes a part; gives the pictures of each batch when it is done.

        Raises:
            UserError: A picture cannot be read, and bad ones are not to be skipped.
        """
        part = Part.from_json(self._listed(number).read_text(encoding="utf-8"))
        # One tensor from the start: small ones that stay between large ones that go would tear up the heap.
        features = torch.empty(part.size, self.towers.embed_dim, dtype=self.dtype)
        rows: dict[object, int] = {}
        labels: list[int] = []
        bad: list[str] = []
        for samples, images in self.pieces(part):
            place = 0
            keys = [sample.key for sample in samples]
            for batch in decoded(keys, images, self.towers.preprocess, self.workers):
                if batch.problems and not self.asked.skip_bad:
                    problems = list(batch.problems.values())
                    hint = "Mend them, or pass over them with --bad skip."
                    raise UserError("pictures cannot be used", problems, hint)
                bad += batch.problems.values()
                if batch.rows:
                    encoded = run_padded(self.towers.encode_image, batch.pixels.to(self.towers.device))
                    features[len(labels) : len(labels) + len(encoded)] = encoded
                    labels += [rows.setdefault(samples[place + row].label, len(rows)) for row in batch.rows]
                place += batch.size
                yield batch.size
        facts = {"split": part.split, "labels": json.dumps(list(rows)), "bad": json.dumps(bad)}
        tensors = {"labels": torch.tensor(labels, dtype=torch.long), "features": features[: len(labels)].clone()}
        write_tensors(self.part(number), tensors, facts)

    def pieces(self, part: Part) -> Iterator[tuple[Sequence[Sample], Images]]:
        """Samples of a part and what gives their pictures; of a tar some at a time."""
        if part.tar:
            yield from tar_pieces(part, _PIECE)
        else:
            assert self.images is not None
            yield part.samples, self.images

    def remove(self) -> None:
        """Takes the parts away; the plan first, so that what is left of a killed removal is no work of anybody."""
        (self.folder / _PLAN).unlink()
        shutil.rmtree(self.folder)

    def _listed(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"
