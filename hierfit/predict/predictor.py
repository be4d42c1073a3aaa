"""`Predictor`: towers, head, tree and calibration; images in, paths out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from PIL import Image, ImageOps
from torch import Tensor

from hierfit.backbone import Backbone
from hierfit.data.decode import Decoded, through_tower
from hierfit.data.images import open_image, to_rgb
from hierfit.errors import UserError
from hierfit.methods.head import Head
from hierfit.methods.saved import SavedModel
from hierfit.predict import classes as changes
from hierfit.predict.answer import Answer, Question, answers
from hierfit.predict.hub import fetched, is_name
from hierfit.results.runs import run_folder
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.closed import Learner

ImageLike = str | PathLike[str] | Image.Image
"""A file, or a picture that is open."""


class Answered(NamedTuple):
    """A picture that was asked about."""

    answers: list[Answer]  # best first; none of one that cannot be read
    problem: str = ""  # what is wrong with that


@dataclass(frozen=True)
class Predictor(SavedModel):
    """A trained model as it is used.

    Attributes:
        device: Where the towers and the head are.

    Example:
        >>> import hierfit
        >>> model = hierfit.load("gulls")  # doctest: +SKIP
        >>> model.predict(["a.jpg"])[0].path  # doctest: +SKIP
        ('Laridae', 'Larus', 'Herring gull')
    """

    device: torch.device | str = "cpu"

    @cached_property
    def backbone(self) -> Backbone:
        """The towers, loaded when they are first needed; raises `UserError` where they are not those it learnt on."""
        return self.towers.load(self.head.nodes.text.shape[1]).to(self.device)

    def predict(
        self,
        images: Sequence[ImageLike],
        *,
        decoder: str | None = None,
        rank: str | None = None,
        min_confidence: float | None = None,
        max_error: float | None = None,
        within: Sequence[str] = (),
        num_workers: int = 0,
    ) -> list[Answer]:
        """One path for each image.

        Args:
            images: Files or open pictures.
            decoder: Name in `hierfit.decoding.BELIEF_DECODERS`; None for the one that was chosen on val.
            rank: Level to stop at.
            min_confidence: Stop at the deepest node whose calibrated probability is at least this. No guarantee.
            max_error: Stop so deep that at most this share of all answers is wrong, silence counting as right; holds
                for pictures like those of the validation split, whatever the model (split conformal).
            within: Only leaves at or below these nodes count.
            num_workers: Processes that decode files.

        Raises:
            UserError: Something cannot be asked of this tree; or names all pictures that cannot be read.
        """
        question = Question(decoder, 1, rank, min_confidence, max_error, within)
        asked = list(self.ask(images, question, num_workers))
        _refuse([found.problem for found in asked if found.problem], len(images))
        return [found.answers[0] if found.answers else Answer((), ()) for found in asked]

    def ask(self, images: Sequence[ImageLike], question: Question, num_workers: int = 0) -> Iterator[Answered]:
        """Answers in order, as the pictures go through the tower; those that cannot be read are named."""
        question.check(self.taxonomy, self.calibration)
        encode = self.backbone.encode_image
        # Padded up to the logits: what is said of a picture does not depend on those beside it.
        for batch, logits in self._run(images, lambda pixels: self.logits(encode(pixels)), num_workers):
            made = answers(logits.cpu(), self.taxonomy, self.calibration, question) if batch.rows else []
            found = dict(zip(batch.rows, made, strict=True))
            yield from (Answered(found.get(row, []), batch.problems.get(row, "")) for row in range(batch.size))

    def answers(self, features: Tensor, question: Question) -> list[list[Answer]]:
        """Answers for L2-normalised image features ``[B, d]``; the question has been checked."""
        return answers(self.logits(features).cpu(), self.taxonomy, self.calibration, question)

    @torch.inference_mode()
    def logits(self, features: Tensor) -> Tensor:
        """One score a node ``[B, N]`` for L2-normalised image features ``[B, d]``."""
        logits: Tensor = self.head(features.to(self.head.nodes.text))
        return logits

    def encode(self, images: Sequence[ImageLike], num_workers: int = 0) -> Tensor:
        """L2-normalised features ``[n, d]`` of images; raises `UserError` with all that cannot be read."""
        found = list(self._run(images, self.backbone.encode_image, num_workers))
        _refuse([problem for batch, _ in found for problem in batch.problems.values()], len(images))
        return torch.cat([features for _, features in found]) if found else torch.zeros(0, self.backbone.embed_dim)

    def _run(
        self, images: Sequence[ImageLike], tower: Callable[[Tensor], Tensor], num_workers: int
    ) -> Iterator[tuple[Decoded, Tensor]]:
        """Batches, and what a tower makes of those of their pictures that can be read."""
        return through_tower(images, _as_picture, self.backbone.preprocess, tower, num_workers, self.device)

    def with_classes(self, classes: Sequence[str]) -> Predictor:
        """The model with classes it was not trained on, each under a node it knows.

        Args:
            classes: ``name:parent``, such as ``Ivory gull:Laridae``; the parent by name or by path.

        Raises:
            UserError: The method cannot score new classes, there is no text tower, or names every class that has no
                place in the tree.
        """
        return changes.grown(self, classes) if classes else self

    def learn(self, images: Sequence[ImageLike], label: str | Sequence[str], num_workers: int = 0) -> Predictor:
        """The model after more images of one class, in closed form and without those it learnt from.

        It is what a fit to all images together would be, at the temperature of the first one.

        Args:
            images: Files or open pictures.
            label: Their class, by name or path; a new one as a path under a node that is known, ``Larus/Ivory gull``.
            num_workers: Processes that decode files.

        Raises:
            UserError: TreeGDA did not fit the model, the class has no place, or names pictures that cannot be read.
        """
        changes.place(self.taxonomy, label)  # before the pictures are read
        return changes.learnt(self, self.encode(images, num_workers), label)

    def forget(self, label: str | Sequence[str]) -> Predictor:
        """The model, fitted by TreeGDA, without a class; raises `UserError` where there is none such, or no other."""
        return changes.forgotten(self, label)

    def over(self, taxonomy: Taxonomy, head: Head, learner: Learner | None = None) -> Predictor:
        """The model of other classes, on the same towers; with these as candidates no error rate is promised."""
        calibration = replace(self.calibration, conformal=None)
        changed = replace(self, taxonomy=taxonomy, head=head.to(self.device), calibration=calibration, learner=learner)
        if "backbone" in self.__dict__:  # loaded already
            changed.__dict__["backbone"] = self.backbone
        return changed

    def to(self, device: torch.device | str) -> Predictor:
        """The model with towers and head on a device."""
        return replace(self, head=self.head.to(device), device=device)


def load(folder: str | PathLike[str], *, backbone: str | None = None, device: torch.device | str = "cpu") -> Predictor:
    """Opens a model that ``hierfit export`` wrote, or a run's folder.

    Args:
        folder: The folder, ``latest``, or ``owner/name`` on the Hugging Face hub.
        backbone: Towers instead of those the folder names: for a model that learnt from a feature bundle.
        device: Where to compute.

    Raises:
        UserError: There is no model, or its files are damaged or do not belong together.
    """
    model = Predictor.read(fetched(str(folder)) if is_name(str(folder)) else run_folder(Path(folder)))
    if backbone is not None:
        model = replace(model, towers=replace(model.towers, source=backbone, folder=None, stated=False))
    return model.to(device)


def _refuse(problems: Sequence[str], count: int) -> None:
    if problems:
        raise UserError(f"{len(problems)} of {count} pictures cannot be read", problems)


def _as_picture(image: ImageLike) -> Image.Image:
    return to_rgb(ImageOps.exif_transpose(image)) if isinstance(image, Image.Image) else open_image(Path(image))
