"""What can be said of a butterfly: whole captions, captions of some attributes only, and those with the ancestors."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from hierfit.fieldguide.species import Species

ATTRIBUTES: tuple[str, ...] = tuple(f.name for f in fields(Species))

_OPENINGS = (
    "a photo of a {0}.",
    "a photo of the {0}, a kind of butterfly.",
    "a photo of a {0}, a kind of butterfly.",
    "a picture of a {0}.",
    "a {0}.",
    "{0}",
    "a close-up photo of a {0}.",
    "this is a {0}.",
)
_GROUP_OPENINGS = (
    "a photo of one of the {0}s, a kind of butterfly.",
    "a photo of a butterfly of the {0}s.",
    "a photo of a {0}.",
    "{0}s",
    "a {0}.",
)
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
# Names that leave attributes open, as common names do, and bare colour phrases.
PARTIAL: tuple[tuple[str, ...], ...] = (
    (*GENUS, "ground"),
    (*GENUS, "marking"),
    (*GENUS, "accent"),
    (*GENUS, "ground", "marking"),
    (*GENUS, "ground", "accent"),
    (*GENUS, "marking", "accent"),
    ("ground",),
    ("pattern", "marking"),
    ("accent",),
)


def caption(species: Species, rng: np.random.Generator) -> str:
    """A caption that names every attribute, in one of several wordings."""
    if rng.random() < 0.3:
        return species.description + "."
    return str(rng.choice(_OPENINGS)).format(species.full_name)


def partial_caption(species: Species, attributes: tuple[str, ...], rng: np.random.Generator) -> str:
    """A caption that tells some attributes and leaves the others open.

    Args:
        species: What is seen.
        attributes: ``FAMILY``, ``GENUS`` or one of ``PARTIAL``.
        rng: Chooses the wording.
    """
    if attributes == FAMILY:
        return str(rng.choice(_GROUP_OPENINGS)).format(species.outline)
    if attributes == GENUS:
        return str(rng.choice(_GROUP_OPENINGS)).format(species.named_by())
    opening = str(rng.choice(_OPENINGS))
    if "outline" in attributes:
        return opening.format(species.named_by(*attributes))
    in_words = rng.random() < 0.5
    if attributes == ("ground",):
        return opening.format(f"{species.ground} butterfly")
    if attributes == ("pattern", "marking"):
        marked = f"{species.marking}-{species.pattern} butterfly"
        return opening.format(f"butterfly with {species.marking_phrase}" if in_words else marked)
    if attributes == ("accent",):
        by_word = f"{species.accent} butterfly"
        return opening.format(
            f"butterfly with {species.accent_phrase}" if in_words and species.accent_phrase else by_word
        )
    raise ValueError(f"no wording for {attributes}; known: {(FAMILY, GENUS, *PARTIAL)}")


def lineage_caption(species: Species, attributes: tuple[str, ...], rng: np.random.Generator) -> str:
    """A caption that tells some attributes by a name and its ancestors, or by the plural of the name.

    Args:
        species: What is seen.
        attributes: One of ``PARTIAL`` with outline and pattern.
        rng: Chooses the wording.
    """
    return str(rng.choice(_LINEAGES)).format(
        outline=species.outline, genus=species.named_by(), name=species.named_by(*attributes)
    )


def told_by_all(species: Species) -> tuple[str, ...]:
    """The attributes that ``caption`` tells: of a plain species not the accent, as no word says that it has none."""
    return ATTRIBUTES[:-1] if species.accent == "plain" else ATTRIBUTES
