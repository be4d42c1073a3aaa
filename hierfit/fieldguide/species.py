"""What a fieldguide butterfly can look like: the attributes, their words, and who may be used for what.

A species is one combination of visible, nameable attributes. Half of all combinations are reserved for guides
(evaluation), the other half for pre-training the tiny CLIP, so no evaluated species was ever seen in training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from functools import lru_cache
from itertools import product

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


def _distance(a: str, b: str) -> float:
    return float(sum((x - y) ** 2 for x, y in zip(COLOURS[a], COLOURS[b], strict=True)) ** 0.5)


@lru_cache(maxsize=1)
def colour_pairs() -> tuple[tuple[str, str], ...]:
    """All (ground, marking) pairs that contrast enough to be seen."""
    return tuple(p for p in product(COLOURS, COLOURS) if _distance(*p) >= _LEAST_CONTRAST)


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
