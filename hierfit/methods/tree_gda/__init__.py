"""TreeGDA: Gaussian classes whose means are tied along the tree; closed form, no training. See README.md."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hierfit.closed.learner import Form, Prior
from hierfit.closed.tree_gda import NOISE_SHARE, CovarianceKind, Labelled
from hierfit.data.batch import Task
from hierfit.errors import UserError
from hierfit.methods.adapted import head_of, seen_through
from hierfit.methods.base import Method
from hierfit.methods.head import Head
from hierfit.methods.keys import OpenShare
from hierfit.methods.tasks import training_images
from hierfit.methods.tree_gda.solver import Scores, Solver
from hierfit.taxonomy.shuffle import shuffled_places


class TreeGDA(Method):
    """Gaussian classes of one covariance whose means are tied along the tree: a closed form, nothing is trained.

    Images that are labelled no finer than an inner node are used as well: they are shared out among its classes.

    Args:
        prior: What ties the means: the ``tree``; the same tree ``shuffled``, each class among the relatives of another
            (labels and scoring stay true); one ``common`` prior for all classes; or nothing (``flat``).
        covariance: Of the images ``within`` their classes, in ``total``, or none (``identity``; with ``prior: flat``
            this is nearest mean). Not read beside text, where it is that of the images about their class's text.
        text: ``auto`` adds the images to what the text tower says, where there is one. ``none``: images alone.
        noise_share: At one shot, where noise and a class's own variance cannot be told apart, the share of noise.
        use_val: Let validation images say that share, and whether and how much to trust the text.
        shuffle_seed: Of ``prior: shuffled``; null takes the run's.
        adapted_by: Folder of a finished run through whose trained adapters features are read, see `hierfit fit-head`.
    """

    trains = False
    before: Head | None

    def __init__(
        self,
        prior: Prior = "tree",
        covariance: CovarianceKind = "within",
        text: Literal["auto", "none"] = "auto",
        noise_share: OpenShare = NOISE_SHARE,
        use_val: bool = True,
        shuffle_seed: int | None = None,
        adapted_by: str | None = None,
    ) -> None:
        super().__init__()

    def head(self, task: Task) -> Head:
        """The affine scores of the fit to the training images.

        Raises:
            UserError: There are none, or not as features, or they are not those that `adapted_by` reads.
        """
        keys = self.keys
        self.before = None if keys.adapted_by is None else head_of(keys.adapted_by, task)
        if self.before is not None:
            task = seen_through(self.before, task)
        features, paths = training_images(task, "TreeGDA")
        nodes = paths.amax(dim=1).cpu()
        if not (nodes >= 0).any():
            raise UserError("TreeGDA is fitted to training images, and there are none with a label")
        tree = task.taxonomy.to("cpu")
        has_text = keys.text == "auto" and task.text_source != "class means"
        seed = torch.initial_seed() % 2**31 if keys.shuffle_seed is None else keys.shuffle_seed
        self.solver = Solver(
            features.float().cpu(),
            nodes,
            tree,
            task.text.float().cpu() if has_text else None,
            task.logit_scale,
            Form(
                keys.prior,
                keys.covariance,
                keys.noise_share,
                tree.leaf_index[shuffled_places(tree, seed)[tree.leaves]] if keys.prior == "shuffled" else None,
            ),
        )
        return self._taken(self.solver.default()).to(task.text.device)

    def _taken(self, scores: Scores) -> Head:
        """The head of what was fitted; what goes on learning is kept, where it could read the text of a new class."""
        before, learner = self.before, scores.learner
        adapts_text = before is not None and before.grows and before.nodes.changes_text
        self.learner = None if learner is not None and learner.text is not None and adapts_text else learner
        return scores.head(before)

    @property
    def chooses(self) -> bool:
        """If asked to."""
        return bool(self.keys.use_val)

    def choose(self, features: Tensor, labels: Tensor) -> str | None:
        """Fits anew with what validation images tell."""
        device = self.classifier.nodes.text.device
        features = self.classifier.adapted(features.to(device)).cpu()
        leaves = self.solver.taxonomy.leaf_index[labels]
        val = Labelled(features[leaves >= 0].float(), leaves[leaves >= 0])
        if not len(val.labels):
            return None
        if self.solver.text is not None:
            chosen, scores = self.solver.best(val)
        elif self.solver.one_shot and self.keys.prior != "flat":
            chosen, scores = "the share of noise at one shot", self.solver.by_images(val)
        else:
            return None
        self.classifier = self._taken(scores).to(device)
        return chosen

    @property
    def reads_leaves_only(self) -> bool:
        """Always: a wide node is no Gaussian about its mean. What is said of it sums up what is said of its leaves."""
        return True
