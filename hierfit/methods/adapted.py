"""Features as a finished run has learnt to see them, for what is fitted on them afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from hierfit.data.batch import Task
from hierfit.errors import UserError
from hierfit.methods.head import Head
from hierfit.methods.saved import SavedModel


def head_of(run: str, task: Task) -> Head:
    """The head of a finished run, whose `Head.adapted` reads a task's features.

    Raises:
        UserError: The run keeps no head, or it is of another tree or of other features.
    """
    saved = SavedModel.read(Path(run))
    width, towers, backbone = saved.head.nodes.text.shape[1], saved.towers, task.backbone
    problems, hint = [], ""
    if saved.taxonomy.fingerprint != task.taxonomy.fingerprint:
        problems.append("it was trained on another tree")
    if task.text.shape[1] != width:
        problems.append(f"it reads features {width} wide, these are {task.text.shape[1]}")
    elif backbone is not None and towers.fingerprint is not None:
        same = backbone.fingerprint == towers.fingerprint
        if towers.adapter is None and not same:
            problems.append(f"it was trained on the towers {towers.source!r}, these are {backbone.source!r}")
        elif towers.adapter is not None and same:
            problems.append("what it has learnt lies in its towers, and these are the ones before its training")
            hint = f"`hierfit fit-head {run}` takes its own."
    if problems:
        raise UserError(f"adapted_by: {run} does not go with these data", problems, hint)
    return saved.head


def seen_through(head: Head, task: Task) -> Task:
    """The task whose images are adapted, and whose text is what the head compares them with.

    Where a head learns of each class alone (a linear probe's weights are no text), text stays what it was.
    """
    with torch.no_grad():
        features = None if task.train_features is None else head.adapted(task.train_features)
        text, scale = (head.nodes(), float(head.scale)) if head.grows else (head.read(task.text), task.logit_scale)
    return replace(task, text=text.to(task.text), train_features=features, logit_scale=scale)
