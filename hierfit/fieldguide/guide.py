"""A guide: species chosen from a seed, arranged in a tree, and any number of pictures of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hierfit.errors import UserError
from hierfit.fieldguide.species import COLOURS, OUTLINES, PATTERNS, Nuisance, Species, species_of
from hierfit.taxonomy import Taxonomy

# Each depth fixes more of a species; the last level is always the species itself.
_LEVELS = {
    1: ("species",),
    2: ("family", "species"),
    3: ("family", "genus", "species"),
    4: ("family", "genus", "section", "species"),
    5: ("family", "genus", "section", "series", "species"),
}
SPLITS = ("train", "val", "test")


def _group_names(s: Species) -> dict[str, str]:
    return {
        "family": f"{s.outline}s",
        "genus": f"{s.named_by()}s",
        "section": f"{s.named_by('ground')}s",
        "series": f"{s.named_by('ground', 'marking')}s",
    }


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
            "depth": (1, len(_LEVELS)),
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
                groups = _LEVELS[self.depth][:-1]
                if self.ragged and rank % 3 == 2:
                    rows.append((tuple(_group_names(chosen[0])[level] for level in groups[:2]), chosen[0]))
                    continue
                for s, name in zip(chosen, _common_names(chosen, rng), strict=True):
                    rows.append(((*(_group_names(s)[level] for level in groups), name), s))
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
        return Taxonomy.from_paths([path for path, _ in self._rows], levels=_LEVELS[self.depth])

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
        from hierfit.fieldguide.draw import draw  # here: most runs find the features of their pictures

        species = self.leaves[leaf]
        rng = np.random.default_rng([self.seed, SPLITS.index(split), species.key, index])
        return draw(species, rng, self.image_size, self.nuisance)
