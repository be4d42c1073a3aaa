"""What methods read off a task: what may be learnt from, the objective, and whose kin other classes are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hierfit.data.batch import Task
from hierfit.errors import UserError
from hierfit.losses.levels import deepest_label
from hierfit.losses.objective import Objective
from hierfit.taxonomy import Taxonomy


def with_images(task: Task) -> Tensor:
    """Which nodes have a training image at or below them ``[N]`` bool."""
    found = torch.zeros(len(task.text), dtype=torch.bool)
    found[task.train_paths[task.train_paths >= 0]] = True
    return found


def trained_nodes(task: Task) -> Tensor:
    """Ids ``[M]`` of the nodes with a training image at or below them, without those held back from training.

    Only they get weights of their own: softmax would push those of the others away from every image.
    """
    return (with_images(task) & task.seen).nonzero()[:, 0]


def training_images(task: Task, method: str) -> tuple[Tensor, Tensor]:
    """Features ``[n, d]`` and paths ``[n, L]`` of the training images; nodes held back from training are on no path.

    Raises:
        UserError: There are no features of them.
    """
    if task.train_features is None:
        raise UserError(f"{method} starts from the training images' features, and this task has none")
    return task.train_features, task.train_paths.masked_fill(~task.seen[task.train_paths], -1)


def default_on(task: Task, default: Mapping[str, float]) -> dict[str, float]:
    """A method's default objective on a task: with ``leaf_ce`` where training labels end above the leaves.

    Level cross-entropy skips the levels that a label does not reach; the leaves' softmax learns from it that the class
    is among those below.
    """
    tree, labels = task.taxonomy, deepest_label(task.train_paths)
    parents = tree.parent[task.seen.to(tree.parent.device)]
    goes_on = torch.zeros(tree.num_nodes, dtype=torch.bool)
    goes_on[parents[parents >= 0].cpu()] = True  # into classes that are not held back
    partial = bool(goes_on[labels[labels >= 0].cpu()].any())
    return {**default, "leaf_ce": 1.0} if partial else {**default}


def objective_for(task: Task, spec: Mapping[str, Any]) -> Objective:
    """The objective on a task's tree; where the task shuffles what is shared, HiSCE's siblings are strangers."""
    if task.shuffle is not None and "hisce" in spec:
        given = spec["hisce"]
        options = dict(given) if isinstance(given, Mapping) else {"weight": given}
        spec = {**spec, "hisce": {**options, "families": task.shuffle}}
    return Objective(spec, task.taxonomy, task.seen)


def kin_of(there: Taxonomy, here: Taxonomy, inherits: bool) -> Tensor:
    """For each node ``there`` that ``here`` at its path, or the nearest above if it inherits; −1 for none ``[N']``."""
    from hierfit.data.trees import counterparts  # imports what prediction does without

    found = counterparts(there, here)
    if inherits:
        paths = there.paths(torch.arange(there.num_nodes))
        found = torch.cat([found, found.new_tensor([-1])])[paths].amax(dim=1)  # ids grow with depth
    return found
