"""Closed forms on frozen features: Gaussian classes whose means are tied along the tree, and their treeless rows.

Everything here is a function of sums over images (`Statistics`) and a `Taxonomy`; nothing is trained by steps.
"""

from __future__ import annotations

from hierfit.closed.coarse import fit_coarse, leave_one_out_temperature
from hierfit.closed.kinship import Kinship, kinship_test
from hierfit.closed.learner import Beside, Learner
from hierfit.closed.statistics import Statistics
from hierfit.closed.tree_gda import GaussianClasses, TiedForm, fit_tree

__all__ = [
    "Beside",
    "GaussianClasses",
    "Kinship",
    "Learner",
    "Statistics",
    "TiedForm",
    "fit_coarse",
    "fit_tree",
    "kinship_test",
    "leave_one_out_temperature",
]
