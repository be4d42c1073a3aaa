"""TreeGDA: Gaussian classes whose means are tied along the tree; closed form, no training. See README.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from hierfit.closed import Beside, GaussianClasses, Learner, Statistics, TiedForm, fit_coarse, leave_one_out_temperature
from hierfit.closed.learner import Prior, Scores
from hierfit.closed.temperature import TOO_SURE
from hierfit.closed.tree_gda import NOISE_SHARE, RIDGE, WEIGHT, CovarianceKind, Labelled
from hierfit.data.batch import Task
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.methods.head import Head
from hierfit.methods.keys import OpenShare
from hierfit.methods.nodes import Nodes
from hierfit.methods.saved import head_of, seen_through
from hierfit.methods.tasks import training_images
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.shuffle import shuffled_places

_RIDGES = (0.1, 0.3, 0.6, 0.9)
_WEIGHTS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
Fitted = tuple[Learner, Scores]
"""What goes on learning, and what it says now."""


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
            TiedForm(
                keys.prior,
                keys.covariance,
                keys.noise_share,
                tree.leaf_index[shuffled_places(tree, seed)[tree.leaves]] if keys.prior == "shuffled" else None,
            ),
        )
        return self._taken(self.solver.default()).to(task.text.device)

    def _taken(self, fitted: Fitted) -> Head:
        """The head of what was fitted; what goes on learning is kept, where it could read the text of a new class."""
        before, (learner, scores) = self.before, fitted
        adapts_text = before is not None and before.grows and before.nodes.changes_text
        lost = learner.form.prior == "shuffled" or (learner.text is not None and adapts_text)
        self.learner = None if lost else learner
        # Features come to it as they do to the nodes of the head before.
        image, whiten = (None, None) if before is None else (before.image, before.whiten)
        return Head(Nodes(scores.weights.float(), grows=False), 1.0, image, scores.bias.float(), whiten=whiten)

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
            chosen, fitted = self.solver.best(self.solver.text, val)
        elif self.solver.one_shot and self.keys.prior != "flat":
            chosen, fitted = "the share of noise at one shot", self.solver.by_images(val)
        else:
            return None
        self.classifier = self._taken(fitted).to(device)
        return chosen

    @property
    def reads_leaves_only(self) -> bool:
        """Always: a wide node is no Gaussian about its mean. What is said of it sums up what is said of its leaves."""
        return True


@dataclass(frozen=True)
class Solver:
    """From a task's training images ``[n, d]`` and the finest known node of each ``[n]`` to scores, by one form.

    With text features of the nodes ``[N, d]``, if there are any, and the multiplier of cosines to them.
    """

    features: Tensor
    nodes: Tensor
    taxonomy: Taxonomy
    text: Tensor | None
    text_scale: float
    form: TiedForm

    def default(self) -> Fitted:
        """What is fitted without validation images: beside text where there is some."""
        return self.by_images() if self.text is None else next(self.beside_text(self.text, RIDGE, [WEIGHT]))

    def by_images(self, val: Labelled | None = None) -> Fitted:
        """GDA of the images alone, at the temperature that they themselves tell."""
        found, statistics = self._fitted(val=val)
        leaf = self.taxonomy.leaf_index[self.nodes].where(self.nodes >= 0, -1)
        rows = leaf >= 0
        temperature = leave_one_out_temperature(found, statistics, self.features[rows], leaf[rows], self.taxonomy)
        form = self.form
        if found.one_shot:  # as it was told by val
            energy = found.whiten(statistics.means[statistics.seen]).square().mean().clamp_min(1e-12)
            form = replace(form, noise_share=found.noise / float(energy))
        learner = Learner(statistics, form, temperature or 2 * TOO_SURE * found.noise)
        return learner, learner.scores(self.taxonomy, found)

    def beside_text(self, text: Tensor, ridge: float, weights: Iterable[float]) -> Iterator[Fitted]:
        """Zero-shot and what the images add, at each of some weights."""
        found, statistics = self._fitted(text=text, ridge=ridge)
        for weight in weights:
            learner = Learner(statistics, self.form, 1.0, Beside(text, self.text_scale, ridge, weight))
            yield learner, learner.scores(self.taxonomy, found)

    def best(self, text: Tensor, val: Labelled) -> tuple[str, Fitted]:
        """The form, ridge and weight that put most of ``val`` right; of equals the nearest to the defaults."""

        def hits(candidate: tuple[str, Fitted]) -> int:
            logits = candidate[1][1].of(val.features)[:, self.taxonomy.leaves]
            return int((logits.argmax(dim=1) == val.labels).sum())

        return max(self._candidates(text, val), key=hits)  # the first of equals

    def _candidates(self, text: Tensor, val: Labelled) -> Iterator[tuple[str, Fitted]]:
        weights = sorted(_WEIGHTS, key=lambda weight: abs(math.log(weight / WEIGHT)))
        for ridge in sorted(_RIDGES, key=lambda ridge: abs(ridge - RIDGE)):
            for weight, fitted in zip(weights, self.beside_text(text, ridge, weights), strict=True):
                yield f"text, ridge {ridge:g}, images × {weight:g}", fitted
        yield "images without text", self.by_images(val)

    @cached_property
    def one_shot(self) -> bool:
        """Whether the validation images are asked for the share of noise."""
        rows = self.nodes >= 0
        leaf = self.taxonomy.leaf_index[self.nodes[rows]]
        counts = torch.bincount(leaf[leaf >= 0], minlength=self.taxonomy.num_leaves)
        return bool((leaf >= 0).all()) and int(counts.sum()) - int((counts > 0).sum()) < int((counts > 0).sum()) / 2

    def _fitted(self, **options: Any) -> tuple[GaussianClasses, Statistics]:
        tree = self.taxonomy
        return fit_coarse(self.features, self.nodes, tree, lambda sums: self.form.fit(sums, tree, **options))
