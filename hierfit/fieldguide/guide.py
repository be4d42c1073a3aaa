"""What a fieldguide butterfly can look like, and guides: species chosen from a seed, arranged in a tree, with pictures.

A species is one combination of visible, nameable attributes. Half of all combinations are reserved for guides
(evaluation), the other half for pre-training the tiny CLIP, so no evaluated species was ever seen in training.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, fields
from functools import cached_property, lru_cache
from itertools import product
from math import dist

import numpy as np
from numpy.typing import NDArray

from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

OUTLINES = (
    "swallowtail", "sailwing", "roundwing", "anglewing", "leafwing", "broadwing", "hookwing", "scallopwing",
)  # fmt: skip
PATTERNS = (
    "banded", "striped", "spotted", "checkered", "bordered", "eyed", "tipped", "marbled", "netted", "halved",
)  # fmt: skip
ACCENTS = ("plain", "pearled", "fringed", "jewelled", "smoky", "veined")

COLOURS: dict[str, tuple[int, int, int]] = {
    "crimson": (200, 28, 44),
    "orange": (240, 126, 24),
    "golden": (250, 208, 48),
    "emerald": (30, 148, 74),
    "turquoise": (64, 205, 200),
    "azure": (52, 120, 226),
    "violet": (126, 60, 178),
    "rose": (243, 140, 178),
    "ivory": (246, 240, 222),
    "slate": (112, 122, 134),
    "ebony": (34, 30, 36),
    "chestnut": (122, 70, 38),
}

_MARKING_PHRASES = {
    "banded": "{m} bands across the wings",
    "striped": "{m} stripes along the wings",
    "spotted": "{m} spots",
    "checkered": "a {m} checkerboard pattern",
    "bordered": "broad {m} borders",
    "eyed": "large {m} eyespots",
    "tipped": "{m} wing tips",
    "marbled": "{m} marbling",
    "netted": "a {m} net of lines",
    "halved": "{m} hindwings",
}
_ACCENT_PHRASES = {
    "pearled": "a row of pearl dots along the edge",
    "fringed": "a pale fringe",
    "jewelled": "a blue jewel on each hindwing",
    "smoky": "smoky wing bases",
    "veined": "dark veins",
}
# Markings closer than this to the ground colour (Euclidean RGB) would not show at 64 px.
_LEAST_CONTRAST = 105.0


@dataclass(frozen=True, order=True)
class Species:
    """One combination of attributes; every field is a word from the lists above."""

    outline: str
    pattern: str
    ground: str
    marking: str
    accent: str

    def named_by(self, *attributes: str) -> str:
        """Common name that tells outline, pattern, and those of ``ground``, ``marking``, ``accent`` that are asked for.

        All three give ``pearled crimson-banded golden swallowtail``, none ``banded swallowtail``.
        """
        accent = f"{self.accent} " if "accent" in attributes else ""
        marking = f"{self.marking}-" if "marking" in attributes else ""
        ground = f"{self.ground} " if "ground" in attributes else ""
        return f"{accent}{marking}{self.pattern} {ground}{self.outline}"

    @property
    def full_name(self) -> str:
        """The name that tells every attribute; a plain species is not called plain."""
        return self.named_by("ground", "marking", *(() if self.accent == "plain" else ("accent",)))

    @property
    def key(self) -> int:
        """64-bit number that depends on the attributes alone (the same in every guide and process)."""
        return int.from_bytes(hashlib.sha256("|".join(astuple(self)).encode()).digest()[:8], "big")

    @property
    def reserved_for_guides(self) -> bool:
        """Whether guides may hold this species; if not, pre-training may."""
        return self.key % 2 == 0

    @property
    def marking_phrase(self) -> str:
        """The pattern in words, such as ``crimson bands across the wings``."""
        return _MARKING_PHRASES[self.pattern].format(m=self.marking)

    @property
    def accent_phrase(self) -> str:
        """The accent in words; empty for a plain species."""
        return _ACCENT_PHRASES.get(self.accent, "")

    @property
    def description(self) -> str:
        """One sentence that names every attribute."""
        accent = f" and {self.accent_phrase}" if self.accent_phrase else ""
        return f"a {self.ground} {self.outline} butterfly with {self.marking_phrase}{accent}"


@lru_cache(maxsize=1)
def colour_pairs() -> tuple[tuple[str, str], ...]:
    """All (ground, marking) pairs that contrast enough to be seen."""
    return tuple((a, b) for a, b in product(COLOURS, repeat=2) if dist(COLOURS[a], COLOURS[b]) >= _LEAST_CONTRAST)


def species_of(outline: str, pattern: str) -> Iterator[Species]:
    """Every species with this outline and pattern, reserved or not, in a fixed order."""
    for (ground, marking), accent in product(colour_pairs(), ACCENTS):
        yield Species(outline, pattern, ground, marking, accent)


def training_species(outline: str, pattern: str) -> list[Species]:
    """The species of a genus that no guide may hold."""
    return [s for s in species_of(outline, pattern) if not s.reserved_for_guides]


ATTRIBUTES: tuple[str, ...] = tuple(f.name for f in fields(Species))


@dataclass(frozen=True)
class Nuisance:
    """How strongly a picture departs from the plate in a guide; 0 is the plate, 1 the default."""

    pose: float = 1.0
    light: float = 1.0
    backdrop: float = 1.0
    occlusion: float = 1.0
    wear: float = 1.0


PLATE = Nuisance(0.0, 0.0, 0.0, 0.0, 0.0)

_GROUPS = ("family", "genus", "section", "series")  # each fixes more of a species; the last level is the species itself
_SPLITS = ("train", "val", "test")


def _groups_of(s: Species) -> tuple[str, ...]:
    names = s.outline, s.named_by(), s.named_by("ground"), s.named_by("ground", "marking")
    return tuple(f"{name}s" for name in names)


# Attribute sets a name may tell, shortest first: common names say what tells a species from its kin, not all of it.
_NAMINGS = (
    (("ground", "marking"), ("ground", "accent"), ("marking", "accent")),
    (("ground", "marking", "accent"),),
)


def _common_names(genus: list[Species], rng: np.random.Generator) -> list[str]:
    """Short names, different from each other, of the species of a genus."""
    names: dict[str, None] = {}
    for s in genus:
        offered = [s.named_by(*group[i]) for group in _NAMINGS for i in rng.permutation(len(group))]
        names[next(name for name in offered if name not in names)] = None
    return list(names)


@dataclass(frozen=True)
class Fieldguide:
    """A procedurally drawn field guide to butterflies.

    A family is a wing outline, a genus a pattern, a species a choice of colours and one accent. The species of a genus
    draw on few colours, so that the closest relatives are also the easiest to confuse, and a common name tells only
    some attributes, so that names alone do not settle it. The same arguments always give the same tree and the same
    pictures.

    Args:
        seed: Chooses species and pictures.
        families: Number of wing outlines, at most 8.
        genera: Patterns in a family, at most 10.
        species: Species in a genus; up to 10 000 in all are possible (8 x 10 x 125).
        depth: Number of levels, 1 to 5.
        ragged: Every third genus holds a single species and is itself the leaf (needs depth 3 or more).
        image_size: Width and height of a picture in pixels.
        nuisance: Strength of pose, light, backdrop, occlusion and wear.

    Raises:
        UserError: A number is out of its range; all of them are named.
    """

    seed: int = 0
    families: int = 6
    genera: int = 3
    species: int = 4
    depth: int = 3
    ragged: bool = False
    image_size: int = 64
    nuisance: Nuisance = field(default_factory=Nuisance)

    def __post_init__(self) -> None:
        limits = {
            "families": (1, len(OUTLINES)),
            "genera": (1, len(PATTERNS)),
            "species": (1, 300),
            "depth": (1, len(_GROUPS) + 1),
            "image_size": (16, 1024),
            "seed": (0, 2**31 - 1),
        }
        problems = [
            f"{name} is {getattr(self, name)}; it must be from {low} to {high}"
            for name, (low, high) in limits.items()
            if not low <= getattr(self, name) <= high
        ]
        if self.ragged and self.depth < 3:
            problems.append(f"ragged needs depth 3 or more, not {self.depth}")
        if problems:
            raise UserError("This fieldguide cannot be drawn.", problems)

    @cached_property
    def _rows(self) -> list[tuple[tuple[str, ...], Species]]:
        rng = np.random.default_rng([self.seed, 7])
        rows = []
        for outline in rng.permutation(OUTLINES)[: self.families]:
            for rank, pattern in enumerate(rng.permutation(PATTERNS)[: self.genera]):
                chosen = self._choose(str(outline), str(pattern), rng)
                if self.ragged and rank % 3 == 2:
                    rows.append((_groups_of(chosen[0])[:2], chosen[0]))
                    continue
                for s, name in zip(chosen, _common_names(chosen, rng), strict=True):
                    rows.append(((*_groups_of(s)[: self.depth - 1], name), s))
        return rows

    def _choose(self, outline: str, pattern: str, rng: np.random.Generator) -> list[Species]:
        """Species of one genus: two ground and three marking colours first, more only when those run out."""
        ground, marking = ({c: i for i, c in enumerate(rng.permutation(list(COLOURS)))} for _ in range(2))
        candidates = [s for s in species_of(outline, pattern) if s.reserved_for_guides]
        candidates = [candidates[i] for i in rng.permutation(len(candidates))]
        seen: Counter[tuple[str, str]] = Counter()
        ranked = []
        for order, s in enumerate(candidates):
            pair = (s.ground, s.marking)
            ranked.append((max(ground[s.ground] // 2, marking[s.marking] // 3), seen[pair], order))
            seen[pair] += 1
        # Same colours with another accent (seen > 0) come after all new pairs of the same few colours.
        return [candidates[order] for *_, order in sorted(ranked)[: self.species]]

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The true tree."""
        return Taxonomy.from_paths([path for path, _ in self._rows], levels=(*_GROUPS[: self.depth - 1], "species"))

    @cached_property
    def leaves(self) -> tuple[Species, ...]:
        """The species (hence the attributes) of each leaf, in the order of ``taxonomy.leaves``."""
        nodes = self.taxonomy.resolve([path for path, _ in self._rows])
        order = np.argsort(nodes.numpy())
        return tuple(self._rows[i][1] for i in order)

    def draw(self, leaf: int, split: str, index: int) -> NDArray[np.uint8]:
        """Draws picture number ``index`` of a leaf (its position in ``taxonomy.leaves``) in a split.

        Returns:
            RGB picture ``[image_size, image_size, 3]``.
        """
        from hierfit.fieldguide.draw import draw_butterfly  # here: most runs find the features of their pictures

        species = self.leaves[leaf]
        rng = np.random.default_rng([self.seed, _SPLITS.index(split), species.key, index])
        return draw_butterfly(species, rng, self.image_size, self.nuisance)
