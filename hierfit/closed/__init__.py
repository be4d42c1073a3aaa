"""Closed forms on frozen features: Gaussian classes whose means are tied along the tree, and their treeless rows.

Everything here is a function of sums over images (`Statistics`) and a `Taxonomy`; nothing is trained by steps.
"""

from __future__ import annotations

from hierfit.closed.coarse import fit_coarse
from hierfit.closed.kernel_ridge import KernelRidge, fit_kernel_ridge
from hierfit.closed.kinship import Kinship, kinship_test
from hierfit.closed.learner import Beside, Learner
from hierfit.closed.statistics import Statistics
from hierfit.closed.temperature import leave_one_out_temperature
from hierfit.closed.text import fit_with_text
from hierfit.closed.tree_gda import GaussianClasses, fit_tree
from hierfit.closed.treeless import fit_elsewhere

__all__ = [
    "Beside",
    "GaussianClasses",
    "KernelRidge",
    "Kinship",
    "Learner",
    "Statistics",
    "fit_coarse",
    "fit_elsewhere",
    "fit_kernel_ridge",
    "fit_tree",
    "fit_with_text",
    "kinship_test",
    "leave_one_out_temperature",
]
