"""TreeGDA: Gaussian classes whose means are tied along the tree; closed form, no training."""

from __future__ import annotations

from hierfit.methods.tree_gda.lightning import TreeGDA

__all__ = ["TreeGDA"]
