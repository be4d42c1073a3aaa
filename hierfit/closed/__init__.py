"""Closed forms on frozen features: Gaussian classes whose means are tied along the tree, and their treeless rows.

Everything here is a function of sums over images (`Statistics`) and a `Taxonomy`; nothing is trained by steps.
"""

from __future__ import annotations

from hierfit.closed.coarse import fit_coarse
from hierfit.closed.kinship import Kinship, kinship_test
from hierfit.closed.learner import Beside, Learner, TiedForm
from hierfit.closed.statistics import Statistics
from hierfit.closed.temperature import leave_one_out_temperature
from hierfit.closed.tree_gda import GaussianClasses, fit_elsewhere, fit_tree, fit_with_text, without_tree

__all__ = [
    "Beside",
    "GaussianClasses",
    "Kinship",
    "Learner",
    "Statistics",
    "TiedForm",
    "fit_coarse",
    "fit_elsewhere",
    "fit_tree",
    "fit_with_text",
    "kinship_test",
    "leave_one_out_temperature",
    "without_tree",
]
