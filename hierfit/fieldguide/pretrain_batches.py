"""Pictures and captions to pre-train on, and which caption is true of which picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hierfit.fieldguide.captions import (
    ATTRIBUTES,
    FAMILY,
    GENUS,
    PARTIAL,
    caption,
    lineage_caption,
    partial_caption,
    told_by_all,
)
from hierfit.fieldguide.draw import draw
from hierfit.fieldguide.species import OUTLINES, PATTERNS, Species, training_species

_SEED = 20_000  # of the pool and the batches; guides use their own seeds and, above all, other species

Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Size:
    """Of the towers, their tokenizer and the pool; ``seed`` is of the pool, the captions and the weights."""

    image_size: int = 64
    patch_size: int = 8
    vision_width: int = 128
    vision_layers: int = 5
    text_width: int = 128
    text_layers: int = 2
    embed_dim: int = 128
    context_length: int = 48
    vocab_size: int = 1400
    images: int = 30_000
    seed: int = 0


@dataclass(frozen=True)
class Mixed:
    """Batches at random, of a few genera, and of a few palettes, in turn; three captions a picture.

    Attributes:
        genera: In a batch of a few genera.
        palettes: Pairs of ground and marking colour in a batch of a few palettes.
        partial_weight: Of the loss of the captions that tell some attributes only; the whole captions' is 1.
    """

    genera: int = 10
    palettes: int = 2
    partial_weight: float = 0.5


@dataclass(frozen=True)
class Palettes:
    """Batches of a few palettes, each with the same number of pictures; captions of each level, all of which every
    picture meets.

    Attributes:
        palettes: In a batch.
        captions: At most so many of a level in a batch.
        family_weight: Of the loss of the captions that tell the family alone; the others are of those that tell the
            genus, some attributes (as the names of species do), and everything.
    """

    palettes: int = 4
    captions: int = 16
    family_weight: float = 3.0
    genus_weight: float = 2.0
    partial_weight: float = 1.0
    whole_weight: float = 0.5


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        batches: What a batch holds.
        pairs: Pictures seen; seen again counts again.
        batch_size: Pictures in a batch.
        learning_rate: Peak.
        weight_decay: Of matrices.
        warmup: Share of the steps until the peak.
        patches_kept: Share of the patches seen but for the last steps.
        unmasked_tail: Share of the steps, at the end, that see all patches.
        half: Whether the towers compute in bfloat16.
    """

    batches: Mixed | Palettes
    pairs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.05
    warmup: float = 0.06
    patches_kept: float = 0.6
    unmasked_tail: float = 0.2
    half: bool = False

    @property
    def steps(self) -> int:
        """Number of batches."""
        return self.pairs // self.batch_size


@dataclass(frozen=True)
class Pool:
    """Pictures drawn once and seen many times.

    Attributes:
        images: ``[n, 3, S, S]`` uint8.
        species: Of each picture ``[n]``.
        attributes: Their attributes as numbers ``[n, A]``, in the order of ``ATTRIBUTES``.
        by_genus: Rows that share outline and pattern.
        by_palette: Rows that share ground and marking colour.
    """

    images: Tensor
    species: list[Species]
    attributes: Tensor
    by_genus: list[Rows]
    by_palette: list[Rows]


@dataclass(frozen=True)
class Captions:
    """Captions that tell attributes of one kind.

    Attributes:
        kind: ``family``, ``genus``, ``partial`` or ``whole``; ``group`` is family or genus.
        texts: Captions ``[T]``.
        fits: Whether a caption is true of a picture ``[B, T]`` bool.
        weight: Of their loss.
    """

    kind: str
    texts: list[str]
    fits: Tensor
    weight: float


def _draw_one(job: tuple[Species, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    species, index, size = job
    return draw(species, np.random.default_rng([_SEED, species.key, index]), size)


def draw_pool(size: Size) -> Pool:
    """Draws the pool over all cores; every genus (outline x pattern) gets the same share."""
    rng = np.random.default_rng([_SEED, size.seed])
    genera = [(o, p) for o in OUTLINES for p in PATTERNS]
    share = size.images // len(genera)
    species: list[Species] = []
    for outline, pattern in genera:
        allowed = training_species(outline, pattern)
        species += [allowed[i] for i in rng.integers(len(allowed), size=share)]
    jobs = [(s, i, size.image_size) for i, s in enumerate(species)]
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        images = np.stack(list(workers.map(_draw_one, jobs, chunksize=500)))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    by_genus = _grouped([(s.outline, s.pattern) for s in species])
    by_palette = _grouped([(s.ground, s.marking) for s in species])
    return Pool(pixels, species, attribute_numbers(species), by_genus, by_palette)


def attribute_numbers(species: Sequence[Species]) -> Tensor:
    """Numbers ``[n, A]`` that are equal where the attributes are."""
    numbers: dict[str, dict[str, int]] = {a: {} for a in ATTRIBUTES}
    return torch.tensor([[numbers[a].setdefault(getattr(s, a), len(numbers[a])) for a in ATTRIBUTES] for s in species])


def _grouped(keys: list[tuple[str, str]]) -> list[Rows]:
    groups: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return [np.array(rows) for rows in groups.values()]


def batches(pool: Pool, stage: Stage, seed: int, number: int) -> Iterator[tuple[Tensor, list[Captions]]]:
    """Yields pictures ``[B, 3, S, S]`` in [0, 1] and their captions; each stage ``number`` has its own."""
    rng = np.random.default_rng([_SEED, seed, number])
    if isinstance(stage.batches, Mixed):
        yield from _mixed(pool, stage.batches, stage, rng)
    else:
        yield from _palettes(pool, stage.batches, stage, rng)


def _mixed(pool: Pool, mixed: Mixed, stage: Stage, rng: np.random.Generator) -> Iterator[tuple[Tensor, list[Captions]]]:
    """One batch in three at random, one from a few genera, so that colours must tell pictures apart, one from a few
    palettes, so that outline and pattern must."""
    for step in range(stage.steps):
        if step % 3 == 0:
            candidates = np.arange(len(pool.species))
        else:
            groups, some = (pool.by_genus, mixed.genera) if step % 3 == 1 else (pool.by_palette, mixed.palettes)
            order = rng.permutation(len(groups))
            sizes = np.cumsum([len(groups[g]) for g in order])
            some = max(some, int(np.searchsorted(sizes, stage.batch_size)) + 1)  # as many as a batch takes
            candidates = np.concatenate([groups[g] for g in order[:some]])
        rows = rng.choice(candidates, stage.batch_size, replace=False)
        mirrored = np.full(len(rows), rng.random() < 0.5)
        images = _shifted(pool.images[rows], mirrored, rng)
        species, attributes = [pool.species[r] for r in rows], pool.attributes[rows]
        texts = [caption(s, rng) for s in species]
        captions = [Captions("whole", texts, fitting(attributes, attributes, [ATTRIBUTES] * len(rows)), 1.0)]
        for kind, told in (
            ("group", (FAMILY, GENUS)[rng.integers(2)]),
            ("partial", PARTIAL[rng.integers(len(PARTIAL))]),
        ):
            # One wording a step: equal captions are then equal strings, and each is encoded once.
            wording = int(rng.integers(1 << 31))
            texts = [partial_caption(s, told, np.random.default_rng(wording)) for s in species]
            fits = fitting(attributes, attributes, [told] * len(rows))
            captions.append(Captions(kind, texts, fits, mixed.partial_weight))
        yield images, captions


def _palettes(
    pool: Pool, palettes: Palettes, stage: Stage, rng: np.random.Generator
) -> Iterator[tuple[Tensor, list[Captions]]]:
    """Every batch from a few palettes; each caption is told once, and a few of a kind are enough for all pictures."""
    for _ in range(stage.steps):
        rows = same_palettes(pool, palettes.palettes, stage.batch_size, rng)
        images = _shifted(pool.images[rows], rng.random(len(rows)) < 0.5, rng)
        species, attributes = [pool.species[r] for r in rows], pool.attributes[rows]
        captions = []
        for kind, told in (("family", FAMILY), ("genus", GENUS), ("partial", PARTIAL[rng.integers(len(PARTIAL))])):
            say = lineage_caption if len(told) > 2 and rng.random() < 0.3 else partial_caption
            wording = int(rng.integers(1 << 31))
            first = {say(s, told, np.random.default_rng(wording)): row for row, s in enumerate(species)}
            captions.append((kind, first, [told] * len(first)))
        first = {caption(s, rng): row for row, s in enumerate(species)}
        captions.append(("whole", first, [told_by_all(species[row]) for row in first.values()]))
        yield images, [_some(*kind, attributes, palettes, rng) for kind in captions]


def _some(
    kind: str,
    first: dict[str, int],
    told: list[tuple[str, ...]],
    attributes: Tensor,
    palettes: Palettes,
    rng: np.random.Generator,
) -> Captions:
    """A few of the captions ``first``, which holds the row each was written for; ``told`` is what each tells of it."""
    texts, rows = list(first), list(first.values())
    some = rng.permutation(len(texts))[: palettes.captions].tolist()
    fits = fitting(attributes, attributes[[rows[i] for i in some]], [told[i] for i in some])
    return Captions(kind, [texts[i] for i in some], fits, getattr(palettes, f"{kind}_weight"))


def same_palettes(pool: Pool, palettes: int, size: int, rng: np.random.Generator) -> Rows:
    """Rows ``[size]`` of a few palettes; one that is rarer than its share gives all it has, and others the rest."""
    share = -(-size // palettes)
    drawn: list[Rows] = []
    for palette in rng.permutation(len(pool.by_palette)):
        drawn.append(rng.permutation(pool.by_palette[palette])[:share])
        if sum(map(len, drawn)) >= size:
            break
    return np.concatenate(drawn)[:size]


def _shifted(images: Tensor, mirrored: np.ndarray[Any, np.dtype[np.bool_]], rng: np.random.Generator) -> Tensor:
    """Pictures ``[B, 3, S, S]`` in [0, 1]: some mirrored, all shifted and lit alike."""
    pixels = images.float() / 255.0
    flipped = torch.from_numpy(mirrored)
    pixels[flipped] = pixels[flipped].flip(-1)
    pixels = pixels.roll(tuple(int(s) for s in rng.integers(-3, 4, 2)), dims=(-2, -1))
    return pixels * float(np.exp(rng.normal(0.0, 0.08)))


def fitting(seen: Tensor, meant: Tensor, told: Sequence[tuple[str, ...]]) -> Tensor:
    """Whether captions are true of pictures ``[B, T]``.

    Args:
        seen: Attribute numbers of the pictures ``[B, A]``.
        meant: Those of the pictures that the captions were written for ``[T, A]``.
        told: Names of the attributes that each caption tells ``[T]``.
    """
    tells = torch.tensor([[a in names for a in ATTRIBUTES] for names in told])
    return ((seen[:, None] == meant) | ~tells).all(-1)
