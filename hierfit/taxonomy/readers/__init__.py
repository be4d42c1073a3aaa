"""Taxonomies of every format in the wild: see ``hierfit/taxonomy/README.md``."""

from hierfit.taxonomy.readers.given import Format, Reading
from hierfit.taxonomy.readers.read import FORMATS, read_given, read_plan, read_taxonomy

__all__ = ["FORMATS", "Format", "Reading", "read_given", "read_plan", "read_taxonomy"]
