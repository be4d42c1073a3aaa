"""Pictures and captions to pre-train on: what is said of a butterfly, and which caption is true of which picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierfit.fieldguide.draw import draw_butterfly
from hierfit.fieldguide.guide import ATTRIBUTES, OUTLINES, PATTERNS, Species, training_species
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

Told = tuple[str, ...]
"""Attributes that a caption tells; it leaves the others open."""

FAMILY: Told = ("outline",)
GENUS: Told = ("outline", "pattern")
PARTIAL: tuple[Told, ...] = (
    (*GENUS, "ground"), (*GENUS, "marking"), (*GENUS, "accent"),
    (*GENUS, "ground", "marking"), (*GENUS, "ground", "accent"), (*GENUS, "marking", "accent"),
    ("ground",), ("pattern", "marking"), ("accent",),
)  # fmt: skip
"""What common names tell, and bare colour phrases."""


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


class Pool(NamedTuple):
    """Pictures ``[n, 3, S, S]`` uint8, drawn once and seen many times, and their attributes as numbers ``[n, A]``.

    Rows ``by_genus`` share outline and pattern, rows ``by_palette`` ground and marking colour.
    """

    images: Tensor
    species: list[Species]
    attributes: Tensor
    by_genus: list[Ints]
    by_palette: list[Ints]


class Captions(NamedTuple):
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


def partial_caption(species: Species, told: Told, rng: np.random.Generator) -> str:
    """A caption that tells ``FAMILY``, ``GENUS`` or one of ``PARTIAL``."""
    if told in (FAMILY, GENUS):
        name = species.outline if told == FAMILY else species.named_by()
        return str(rng.choice(_GROUP_OPENINGS)).format(name)
    opening = str(rng.choice(_OPENINGS))
    if "outline" in told:
        return opening.format(species.named_by(*told))
    word, phrase = {
        ("ground",): (species.ground, ""),
        ("pattern", "marking"): (f"{species.marking}-{species.pattern}", species.marking_phrase),
        ("accent",): (species.accent, species.accent_phrase),
    }[told]
    in_words = rng.random() < 0.5 and phrase
    return opening.format(f"butterfly with {phrase}" if in_words else f"{word} butterfly")


def lineage_caption(species: Species, told: Told, rng: np.random.Generator) -> str:
    """A caption that tells attributes, outline and pattern among them, by a name and its ancestors, or its plural."""
    names = {"outline": species.outline, "genus": species.named_by(), "name": species.named_by(*told)}
    return str(rng.choice(_LINEAGES)).format(**names)


def draw_pool(size: Size) -> Pool:
    """Draws the pool over all cores; every genus (outline x pattern) gets the same share."""
    rng = np.random.default_rng([_SEED, size.seed])
    share = size.images // (len(OUTLINES) * len(PATTERNS))
    species: list[Species] = []
    for genus in product(OUTLINES, PATTERNS):
        allowed = training_species(*genus)
        species += [allowed[i] for i in rng.integers(len(allowed), size=share)]
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        sizes = [size.image_size] * len(species)
        images = np.stack(list(workers.map(_draw_one, species, range(len(species)), sizes, chunksize=500)))

    def grouped(keys: Sequence[tuple[str, str]]) -> list[Ints]:
        return [np.array([row for row, key in enumerate(keys) if key == each]) for each in dict.fromkeys(keys)]

    by_genus = grouped([(s.outline, s.pattern) for s in species])
    by_palette = grouped([(s.ground, s.marking) for s in species])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return Pool(pixels, species, attribute_numbers(species), by_genus, by_palette)


def _draw_one(species: Species, index: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return draw_butterfly(species, np.random.default_rng([_SEED, species.key, index]), size)


def attribute_numbers(species: Sequence[Species]) -> Tensor:
    """Numbers ``[n, A]`` that are equal where the attributes are."""
    numbers: dict[str, dict[str, int]] = {a: {} for a in ATTRIBUTES}
    return torch.tensor([[numbers[a].setdefault(getattr(s, a), len(numbers[a])) for a in ATTRIBUTES] for s in species])


def fitting(seen: Tensor, meant: Tensor, told: Sequence[Told]) -> Tensor:
    """Whether captions are true of pictures ``[B, T]``.

    Args:
        seen: Attribute numbers of the pictures ``[B, A]``.
        meant: Those of the pictures that the captions were written for ``[T, A]``.
        told: What each caption tells ``[T]``.
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
        candidates = np.arange(len(pool.species))
        if step % 3:
            groups, some = (pool.by_genus, _GENERA) if step % 3 == 1 else (pool.by_palette, _MIXED_PALETTES)
            order = rng.permutation(len(groups))
            sizes = np.cumsum([len(groups[g]) for g in order])
            some = max(some, int(np.searchsorted(sizes, stage.batch_size)) + 1)  # as many as a batch takes
            candidates = np.concatenate([groups[g] for g in order[:some]])
        rows = rng.choice(candidates, stage.batch_size, replace=False)
        images = _shifted(pool.images[rows], np.full(len(rows), rng.random() < 0.5), rng)
        species, attributes = [pool.species[r] for r in rows], pool.attributes[rows]
        said = [("whole", ATTRIBUTES, [caption(s, rng) for s in species])]
        group, partial = (FAMILY, GENUS)[rng.integers(2)], PARTIAL[rng.integers(len(PARTIAL))]
        for kind, told in (("group", group), ("partial", partial)):
            say = _one_wording(rng, partial_caption, told)
            said.append((kind, told, [say(s) for s in species]))
        fits = (fitting(attributes, attributes, [told] * len(rows)) for _, told, _ in said)
        weights = stage.weights
        yield images, [Captions(kind, texts, f, weights[kind]) for (kind, _, texts), f in zip(said, fits, strict=True)]


def _palettes(pool: Pool, stage: Stage, rng: np.random.Generator) -> Batches:
    """Every batch from a few palettes, each with the same number of pictures; captions of each level, each told once.

    All pictures meet every caption, so that a few of a kind are enough.
    """
    for _ in range(stage.steps):
        rows = same_palettes(pool, _PALETTES, stage.batch_size, rng)
        images = _shifted(pool.images[rows], rng.random(len(rows)) < 0.5, rng)
        species, attributes = [pool.species[r] for r in rows], pool.attributes[rows]
        said: list[
            tuple[str, dict[str, int], list[Told]]
        ] = []  # by caption the row it was written for; what each tells
        for kind, told in (("family", FAMILY), ("genus", GENUS), ("partial", PARTIAL[rng.integers(len(PARTIAL))])):
            by_name = len(told) > 2 and rng.random() < 0.3
            say = _one_wording(rng, lineage_caption if by_name else partial_caption, told)
            first = {say(s): row for row, s in enumerate(species)}
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


def _one_wording(rng: np.random.Generator, say: Callable[..., str], told: Told) -> Callable[[Species], str]:
    """Says it of every species in one wording: equal captions are then equal strings, and each is encoded once."""
    wording = int(rng.integers(1 << 31))
    return lambda species: say(species, told, np.random.default_rng(wording))


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
