"""A method's objective on its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hierfit.data.batch import Task
from hierfit.losses.objective import Objective


def objective_for(task: Task, spec: Mapping[str, Any]) -> Objective:
    """The objective on a task's tree; where the task shuffles what is shared, HiSCE's siblings are strangers.

    Args:
        task: The method's.
        spec: See `Objective`.
    """
    if task.shuffle is not None and "hisce" in spec:
        given = spec["hisce"]
        options = dict(given) if isinstance(given, Mapping) else {"weight": given}
        spec = {**spec, "hisce": {**options, "families": task.shuffle}}
    return Objective(spec, task.taxonomy, task.seen)
