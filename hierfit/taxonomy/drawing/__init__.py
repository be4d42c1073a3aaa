"""Trees in the terminal and as a picture."""

from hierfit.taxonomy.drawing.svg import write_svg
from hierfit.taxonomy.drawing.text import branch, print_tree

__all__ = ["branch", "print_tree", "write_svg"]
