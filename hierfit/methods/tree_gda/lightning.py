"""TreeGDA as a method: keys, task, and what is chosen on val. The maths is in ``hierfit/closed``."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from lightning import Callback
from torch import Tensor

from hierfit.closed.tree_gda import NOISE_SHARE, CovarianceKind, Labelled
from hierfit.data.batch import Batch, Task
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.methods.head import Head
from hierfit.methods.on_val import ChooseOnVal
from hierfit.methods.tree_gda.solver import Prior, Scores, Solver, places_of
from hierfit.methods.values import check_values


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

    Raises:
        UserError: Names every value out of range.
    """

    needs = "features"
    trains = False

    def __init__(
        self,
        prior: Prior = "tree",
        covariance: CovarianceKind = "within",
        text: Literal["auto", "none"] = "auto",
        noise_share: float = NOISE_SHARE,
        use_val: bool = True,
        shuffle_seed: int | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        allowed = {"prior": get_args(Prior), "covariance": get_args(CovarianceKind), "text": ("auto", "none")}
        problems = [
            f"{name} is {self.hparams[name]!r}; it must be one of {', '.join(values)}"
            for name, values in allowed.items()
            if self.hparams[name] not in values
        ]
        if noise_share >= 1:
            problems.append(f"noise_share is {noise_share}; it must be below 1")
        check_values("TreeGDA", self.hparams, ("noise_share",), {}, problems)

    def build(self, task: Task) -> None:
        """Fits to the training images.

        Raises:
            UserError: There are none, or not as features.
        """
        hparams: Any = self.hparams
        if task.train_features is None:
            raise UserError("TreeGDA is fitted to the training images' features, and this task has none")
        nodes = task.train_paths.masked_fill(~task.seen[task.train_paths], -1).amax(dim=1).cpu()
        if not (nodes >= 0).any():
            raise UserError("TreeGDA is fitted to training images, and there are none with a label")
        tree = task.taxonomy.to("cpu")
        has_text = hparams.text == "auto" and task.text_source != "class means"
        self.solver = Solver(
            task.train_features.float().cpu(),
            nodes,
            tree,
            task.text.float().cpu() if has_text else None,
            task.logit_scale,
            hparams.prior,
            hparams.covariance,
            hparams.noise_share,
            places_of(tree, hparams.shuffle_seed),
        )
        scores = self.solver.with_text() if has_text else self.solver.by_images()
        self.classifier = _head(scores, task.text.device)

    def choose(self, features: Tensor, leaves: Tensor) -> str | None:
        """Fits anew with what validation images tell."""
        val = Labelled(features.float(), leaves)
        if self.solver.text is not None:
            chosen, scores = self.solver.best(val)
        elif self.solver.one_shot and self.hparams["prior"] != "flat":
            chosen, scores = "the share of noise at one shot", self.solver.by_images(val)
        else:
            return None
        self.classifier = _head(scores, self.classifier.nodes.device)
        return chosen

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``[B, N]`` of L2-normalised features ``[B, d]``."""
        logits: Tensor = self.classifier(inputs)
        return logits

    @property
    def reads_leaves_only(self) -> bool:
        """Always: a wide node is no Gaussian about its mean. What is said of it sums up what is said of its leaves."""
        return True

    def head(self) -> Head:
        """The affine scores."""
        return self.classifier

    def configure_callbacks(self) -> list[Callback]:
        """The choice on val, unless it is not wanted."""
        return [ChooseOnVal()] if self.hparams["use_val"] else []

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Nothing is trained.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("TreeGDA has nothing to train; use `hierfit test`")

    def configure_optimizers(self) -> Any:
        """No optimiser."""
        return None


def _head(scores: Scores, device: torch.device) -> Head:
    return Head(scores.weights.float(), 1.0, bias=scores.bias.float()).to(device)
