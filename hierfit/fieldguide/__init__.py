"""Procedurally drawn butterflies: a data set with a true tree, made from a seed."""

from hierfit.fieldguide.guide import Fieldguide
from hierfit.fieldguide.species import PLATE, Nuisance, Species

__all__ = ["PLATE", "Fieldguide", "Nuisance", "Species"]
