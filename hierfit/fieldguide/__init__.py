"""Procedurally drawn butterflies: a data set with a true tree, made from a seed."""

from hierfit.fieldguide.guide import PLATE, Fieldguide, Nuisance, Species

__all__ = ["PLATE", "Fieldguide", "Nuisance", "Species"]
