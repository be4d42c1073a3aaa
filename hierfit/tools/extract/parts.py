"""Work in parts: some pictures of one split, listed in a file each, so that not all are held at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from hierfit.data.samples import Sample


@dataclass(frozen=True)
class Part:
    """Some pictures of one split: a list of them, or so many of a tar from a place on.

    Attributes:
        split: Theirs.
        size: How many.
        samples: The list; their labels are names from the root of the tree down. Empty for a tar.
        tar: Its path; empty for a list.
        offset: Of the first one's header in the tar, bytes.
    """

    split: str
    size: int
    samples: tuple[Sample, ...] = ()
    tar: str = ""
    offset: int = 0

    def to_json(self) -> str:
        """One line."""
        return json.dumps({**vars(self), "samples": [sample[1:] for sample in self.samples]})

    @classmethod
    def from_json(cls, text: str) -> Part:
        """From that line."""
        content = json.loads(text)
        samples = tuple(Sample(content["split"], key, tuple(label)) for key, label in content.pop("samples"))
        return cls(**content, samples=samples)


def parts_of(samples: Iterator[Sample], size: int) -> Iterator[Part]:
    """Samples as parts of at most so many pictures, each of one split."""
    waiting: dict[str, list[Sample]] = {}
    for sample in samples:
        group = waiting.setdefault(sample.split, [])
        group.append(sample)
        if len(group) == size:
            yield Part(sample.split, size, tuple(waiting.pop(sample.split)))
    for split, group in waiting.items():
        yield Part(split, len(group), tuple(group))
