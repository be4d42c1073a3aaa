"""Taxonomies of every format in the wild: see ``hierfit/taxonomy/README.md``."""

from hierfit.taxonomy.readers.given import FORMATS, Format, Given, Reading
from hierfit.taxonomy.readers.read import given_of, read_csv, read_given, read_plan, read_taxonomy

__all__ = ["FORMATS", "Format", "Given", "Reading", "given_of", "read_csv", "read_given", "read_plan", "read_taxonomy"]
