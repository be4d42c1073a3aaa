"""Features whitened within the classes, before whatever is trained on them."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional as F

from hierfit.data.batch import Task
from hierfit.losses.levels import deepest_label
from hierfit.methods.tasks import training_images


class Whitening(nn.Module):
    """``norm((x − c) W)``: images of one class then scatter alike in all directions, and cosines weigh them alike.

    W ``[d, d]`` is the Cholesky factor of the inverse of the training draw's covariance within classes, with the ridge
    of `hierfit.closed.statistics.ridge`; nothing is tuned. c ``[d]`` is the mean of the class means. Text features go
    through the same map.
    """

    weight: Tensor
    center: Tensor

    def __init__(self, weight: Tensor, center: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("center", center, persistent=False)

    @classmethod
    def of(cls, task: Task, method: str) -> Whitening:
        """From a task's training images. Each finest known node is a class; no other label is looked at.

        At one shot nothing lies within a class, and the scatter about the mean of all stands in.

        Raises:
            UserError: There are no features of them.
        """
        from hierfit.closed.statistics import Statistics, whitener
        from hierfit.closed.tree_gda import covariance

        features, paths = training_images(task, method)
        label = deepest_label(paths)
        known = label >= 0
        classes, label = label[known].unique(return_inverse=True)
        sums = Statistics.of(features[known], label, len(classes))
        matrix = whitener(*covariance(sums, task.taxonomy, "total" if sums.few else "within"))
        return cls(matrix.float(), sums.means.mean(dim=0).float())

    def task(self, task: Task) -> Task:
        """The task as a head behind this map sees it."""
        features = task.train_features
        return replace(task, text=self(task.text), train_features=None if features is None else self(features))

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize((features - self.center) @ self.weight, dim=-1)
