"""Pictures and captions to pre-train on: what is said of a butterfly, and which caption is true of which picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hierfit.fieldguide.draw import draw
from hierfit.fieldguide.species import ATTRIBUTES, OUTLINES, PATTERNS, Species, training_species
from hierfit.taxonomy.index import Ints

_SEED = 20_000  # of the pool and the batches; guides use their own seeds and, above all, other species
_GENERA, _PALETTES, _MIXED_PALETTES = 10, 4, 2  # a batch of a few genera, or of a few pairs of ground and marking
_CAPTIONS = 16  # of a kind, at most, in a batch of a few palettes

_OPENINGS = (
    "a photo of a {0}.", "a photo of the {0}, a kind of butterfly.", "a photo of a {0}, a kind of butterfly.",
    "a picture of a {0}.", "a {0}.", "{0}", "a close-up photo of a {0}.", "this is a {0}.",
)  # fmt: skip
_GROUP_OPENINGS = (
    "a photo of one of the {0}s, a kind of butterfly.", "a photo of a butterfly of the {0}s.", "a photo of a {0}.",
    "{0}s", "a {0}.",
)  # fmt: skip
# A name with its ancestors: what `{path}` and `{parent}` of a prompt become, and how names that are alike are told
# apart; the plurals are sections and series of deep guides.
_LINEAGES = (
    "{outline}s, {genus}s, {name}",
    "a photo of a {name}, a kind of {genus}s.",
    "a photo of a {name}, a kind of {genus}s, a kind of {outline}s.",
    "a photo of one of the {name}s, a kind of butterfly.",
    "a photo of a {name}s.",
)

FAMILY = ("outline",)
GENUS = ("outline", "pattern")
PARTIAL: tuple[tuple[str, ...], ...] = (
    (*GENUS, "ground"), (*GENUS, "marking"), (*GENUS, "accent"),
    (*GENUS, "ground", "marking"), (*GENUS, "ground", "accent"), (*GENUS, "marking", "accent"),
    ("ground",), ("pattern", "marking"), ("accent",),
)  # fmt: skip
"""Attributes of names that leave others open, as common names do, and of bare colour phrases."""


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
class Stage:
    """One stage of training: ``pairs`` pictures are seen, those seen again counted again, with a peak learning rate.

    Batches are ``mixed`` (at random, of a few genera, and of a few palettes, in turn) or of a few ``palettes``;
    ``weights`` are of the loss of each kind of caption. But for the last share of steps, the ``unmasked_tail``, only a
    share of the patches is seen; ``half`` is bfloat16.
    """

    batches: Literal["mixed", "palettes"]
    weights: Mapping[str, float]
    pairs: int
    batch_size: int
    learning_rate: float
    patches_kept: float = 0.6
    unmasked_tail: float = 0.2
    half: bool = False

    @property
    def steps(self) -> int:
        """Number of batches."""
        return self.pairs // self.batch_size


@dataclass(frozen=True)
class Pool:
    """Pictures ``[n, 3, S, S]`` uint8, drawn once and seen many times, and their attributes as numbers ``[n, A]``.

    Rows ``by_genus`` share outline and pattern, rows ``by_palette`` ground and marking colour.
    """

    images: Tensor
    species: list[Species]
    attributes: Tensor
    by_genus: list[Ints]
    by_palette: list[Ints]


@dataclass(frozen=True)
class Captions:
    """Captions ``[T]`` of one kind (``family``, ``genus``, ``partial``, ``whole``; ``group`` is one of the first two),
    whether each is true of a picture ``[B, T]``, and the weight of their loss."""

    kind: str
    texts: list[str]
    fits: Tensor
    weight: float


Batches = Iterator[tuple[Tensor, list[Captions]]]


def caption(species: Species, rng: np.random.Generator) -> str:
    """A caption that names every attribute, in one of several wordings; of a plain species no word tells the accent."""
    if rng.random() < 0.3:
        return species.description + "."
    return str(rng.choice(_OPENINGS)).format(species.full_name)


def partial_caption(species: Species, attributes: tuple[str, ...], rng: np.random.Generator) -> str:
    """A caption that tells some attributes, ``FAMILY``, ``GENUS`` or one of ``PARTIAL``, and leaves the others open."""
    if attributes in (FAMILY, GENUS):
        name = species.outline if attributes == FAMILY else species.named_by()
        return str(rng.choice(_GROUP_OPENINGS)).format(name)
    opening = str(rng.choice(_OPENINGS))
    if "outline" in attributes:
        return opening.format(species.named_by(*attributes))
    in_words = rng.random() < 0.5
    word, phrase = {
        ("ground",): (species.ground, ""),
        ("pattern", "marking"): (f"{species.marking}-{species.pattern}", species.marking_phrase),
        ("accent",): (species.accent, species.accent_phrase),
    }[attributes]
    return opening.format(f"butterfly with {phrase}" if in_words and phrase else f"{word} butterfly")


def lineage_caption(species: Species, attributes: tuple[str, ...], rng: np.random.Generator) -> str:
    """A caption that tells attributes, outline and pattern among them, by a name and its ancestors, or its plural."""
    names = {"outline": species.outline, "genus": species.named_by(), "name": species.named_by(*attributes)}
    return str(rng.choice(_LINEAGES)).format(**names)


def draw_pool(size: Size) -> Pool:
    """Draws the pool over all cores; every genus (outline x pattern) gets the same share."""
    rng = np.random.default_rng([_SEED, size.seed])
    share = size.images // (len(OUTLINES) * len(PATTERNS))
    species: list[Species] = []
    for outline in OUTLINES:
        for pattern in PATTERNS:
            allowed = training_species(outline, pattern)
            species += [allowed[i] for i in rng.integers(len(allowed), size=share)]
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        sizes = [size.image_size] * len(species)
        images = np.stack(list(workers.map(_draw_one, species, range(len(species)), sizes, chunksize=500)))
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    by_genus = _grouped([(s.outline, s.pattern) for s in species])
    by_palette = _grouped([(s.ground, s.marking) for s in species])
    return Pool(pixels, species, attribute_numbers(species), by_genus, by_palette)


def _draw_one(species: Species, index: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return draw(species, np.random.default_rng([_SEED, species.key, index]), size)


def _grouped(keys: list[tuple[str, str]]) -> list[Ints]:
    groups: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return [np.array(rows) for rows in groups.values()]


def attribute_numbers(species: Sequence[Species]) -> Tensor:
    """Numbers ``[n, A]`` that are equal where the attributes are."""
    numbers: dict[str, dict[str, int]] = {a: {} for a in ATTRIBUTES}
    return torch.tensor([[numbers[a].setdefault(getattr(s, a), len(numbers[a])) for a in ATTRIBUTES] for s in species])


def fitting(seen: Tensor, meant: Tensor, told: Sequence[tuple[str, ...]]) -> Tensor:
    """Whether captions are true of pictures ``[B, T]``.

    Args:
        seen: Attribute numbers of the pictures ``[B, A]``.
        meant: Those of the pictures that the captions were written for ``[T, A]``.
        told: Names of the attributes that each caption tells ``[T]``.
    """
    tells = torch.tensor([[a in names for a in ATTRIBUTES] for names in told])
    return ((seen[:, None] == meant) | ~tells).all(-1)


def caption_batches(pool: Pool, stage: Stage, seed: int, number: int) -> Batches:
    """Yields pictures ``[B, 3, S, S]`` in [0, 1] and their captions; each stage ``number`` has its own."""
    rng = np.random.default_rng([_SEED, seed, number])
    return (_mixed if stage.batches == "mixed" else _palettes)(pool, stage, rng)


def _mixed(pool: Pool, stage: Stage, rng: np.random.Generator) -> Batches:
    """One batch in three at random, one from a few genera, so that colours must tell pictures apart, one from a few
    palettes, so that outline and pattern must; three captions a picture."""
    for step in range(stage.steps):
        if step % 3 == 0:
            candidates = np.arange(len(pool.species))
        else:
            groups, some = (pool.by_genus, _GENERA) if step % 3 == 1 else (pool.by_palette, _MIXED_PALETTES)
            order = rng.permutation(len(groups))
            sizes = np.cumsum([len(groups[g]) for g in order])
            some = max(some, int(np.searchsorted(sizes, stage.batch_size)) + 1)  # as many as a batch takes
            candidates = np.concatenate([groups[g] for g in order[:some]])
        rows = rng.choice(candidates, stage.batch_size, replace=False)
        images = _shifted(pool.images[rows], np.full(len(rows), rng.random() < 0.5), rng)
        species, attributes = [pool.species[r] for r in rows], pool.attributes[rows]
        said = [("whole", ATTRIBUTES, [caption(s, rng) for s in species])]
        for kind, told in (
            ("group", (FAMILY, GENUS)[rng.integers(2)]),
            ("partial", PARTIAL[rng.integers(len(PARTIAL))]),
        ):
            # One wording a step: equal captions are then equal strings, and each is encoded once.
            wording = int(rng.integers(1 << 31))
            said.append((kind, told, [partial_caption(s, told, np.random.default_rng(wording)) for s in species]))
        yield (
            images,
            [
                Captions(kind, texts, fitting(attributes, attributes, [told] * len(rows)), stage.weights[kind])
                for kind, told, texts in said
            ],
        )


def _palettes(pool: Pool, stage: Stage, rng: np.random.Generator) -> Batches:
    """Every batch from a few palettes, each with the same number of pictures; captions of each level, each told once.

    All pictures meet every caption, so that a few of a kind are enough.
    """
    for _ in range(stage.steps):
        rows = same_palettes(pool, _PALETTES, stage.batch_size, rng)
        images = _shifted(pool.images[rows], rng.random(len(rows)) < 0.5, rng)
        species, attributes = [pool.species[r] for r in rows], pool.attributes[rows]
        said = []  # by caption, the row it was written for; what each tells of it
        for kind, told in (("family", FAMILY), ("genus", GENUS), ("partial", PARTIAL[rng.integers(len(PARTIAL))])):
            say = lineage_caption if len(told) > 2 and rng.random() < 0.3 else partial_caption
            wording = int(rng.integers(1 << 31))
            first = {say(s, told, np.random.default_rng(wording)): row for row, s in enumerate(species)}
            said.append((kind, first, [told] * len(first)))
        first = {caption(s, rng): row for row, s in enumerate(species)}
        plain = [species[row].accent == "plain" for row in first.values()]
        said.append(("whole", first, [ATTRIBUTES[:-1] if bare else ATTRIBUTES for bare in plain]))
        captions = []
        for kind, first, tells in said:
            texts, written_for = list(first), list(first.values())
            some = rng.permutation(len(texts))[:_CAPTIONS].tolist()
            fits = fitting(attributes, attributes[[written_for[i] for i in some]], [tells[i] for i in some])
            captions.append(Captions(kind, [texts[i] for i in some], fits, stage.weights[kind]))
        yield images, captions


def same_palettes(pool: Pool, palettes: int, size: int, rng: np.random.Generator) -> Ints:
    """Rows ``[size]`` of a few palettes; one that is rarer than its share gives all it has, and others the rest."""
    share = -(-size // palettes)
    drawn: list[Ints] = []
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
