"""A trained model on disk, in one folder. Format ``hierfit.predictor/1``.

``predictor.json``, ``head.safetensors``, ``taxonomy.csv``; the conformal scores of the validation split in
``calibration.safetensors``; and, of a closed form, the sums it goes on learning from in ``statistics.safetensors``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from hierfit.atomic import whole_file
from hierfit.backbone import Backbone
from hierfit.data.batch import Task
from hierfit.decoding import Calibration, belief
from hierfit.errors import UserError
from hierfit.methods.head import Head
from hierfit.taxonomy import Taxonomy
from hierfit.tensors import write_tensors

if TYPE_CHECKING:
    from hierfit.closed import Learner

PREDICTOR_FORMAT = "hierfit.predictor/1"
FOLDER = "predictor"
"""Where a run keeps it."""
FILE, _HEAD, _TREE, _SCORES = "predictor.json", "head.safetensors", "taxonomy.csv", "calibration.safetensors"
_SUMS = "statistics.safetensors"


@dataclass(frozen=True)
class SavedTowers:
    """The towers that a model learnt on.

    Attributes:
        source: Name or folder they were loaded from.
        fingerprint: Hash of their weights and preprocessing before any adapter; None where features came from a file,
            which tells the name alone.
        folder: Folder of an exported model that holds them, with what was trained merged in.
        adapter: Folder of a LoRA adapter that belongs on them.
        stated: Whether they are those of training; False where the user names others.
    """

    source: str
    fingerprint: str | None
    folder: Path | None = None
    adapter: Path | None = None
    stated: bool = True

    def load(self, width: int) -> Backbone:
        """The towers, with their LoRA adapter merged into them, for a model of features ``width`` wide.

        Raises:
            UserError: They cannot be had, or are others than the model learnt on.
        """
        if self.stated and self.folder is None and self.fingerprint is None:
            raise UserError(
                f"this model learnt from a file of features ({self.source}); which towers made them, it cannot know",
                hint="Name them (--backbone, or load(…, backbone=…)), or predict from a feature bundle.",
            )
        backbone, problem = Backbone.load(str(self.folder or self.source)), ""
        if backbone.embed_dim != width:
            problem = f"their features are {backbone.embed_dim} wide, the model takes {width}"
        elif self.stated and self.fingerprint is not None and backbone.fingerprint != self.fingerprint:
            problem = "their weights or preprocessing are not those the model learnt on"
        if problem:
            raise UserError(f"the towers {backbone.source!r} do not go with this model", [problem])
        if self.adapter is not None:
            from hierfit.methods.lora import open_adapter  # imports peft

            open_adapter(backbone, self.adapter)
            backbone.model = backbone.model.merge_and_unload(safe_merge=True)
        return backbone


@dataclass(frozen=True)
class SavedModel:
    """What the folder of a trained model holds: its tree; its head, and what makes the head's logits a belief; the
    towers it learnt on; prompt templates by level, for new classes; what else is known as plain values (method, data,
    licence); and what goes on learning from further images, where something does."""

    taxonomy: Taxonomy
    head: Head
    calibration: Calibration
    towers: SavedTowers
    templates: Mapping[str, Sequence[str]]
    facts: Mapping[str, Any]
    learner: Learner | None = None

    def write(self, folder: Path) -> None:
        """Writes the files; ``predictor.json`` comes last, so that a folder without it is none."""
        towers, (head, tensors) = self.towers, self.head.saved()
        places = {  # as seen from the folder, so that both can be moved together
            name: None if place is None else Path(os.path.relpath(place, folder)).as_posix()
            for name, place in (("folder", towers.folder), ("adapter", towers.adapter))
        }
        plain = {
            "format": PREDICTOR_FORMAT,
            **self.facts,
            "head": head,
            "calibration": self.calibration.plain(),
            "towers": {"source": towers.source, "fingerprint": towers.fingerprint, **places},
            "templates": {level: list(group) for level, group in self.templates.items()},
            "taxonomy": self.taxonomy.fingerprint,
        }
        write_tensors(folder / _HEAD, tensors)
        if self.learner is not None:
            plain["learner"], sums = self.learner.saved()
            write_tensors(folder / _SUMS, sums)
        if self.calibration.conformal is not None:
            write_tensors(folder / _SCORES, {"conformal": self.calibration.conformal})
        self.taxonomy.to_csv(folder / _TREE)
        with whole_file(folder / FILE) as draft:
            draft.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads what `write` wrote, from its folder or from that of the run it lies in.

        Raises:
            UserError: There is none, or its files are damaged or do not belong together.
        """
        inside = folder if (folder / FILE).is_file() else folder / FOLDER
        if not (inside / FILE).is_file():
            raise _no_model(folder)
        with _damage_named(inside):
            plain = json.loads((inside / FILE).read_text(encoding="utf-8"))
            if not isinstance(plain, dict) or plain.pop("format", None) != PREDICTOR_FORMAT:
                raise UserError(
                    f"{inside / FILE} is not of format {PREDICTOR_FORMAT}: another version of hierfit wrote it"
                )
            head = Head.load(plain.pop("head"), load_file(inside / _HEAD))
            calibration, towers = _calibration(plain.pop("calibration"), inside / _SCORES), plain.pop("towers")
            here, adapter = (inside / towers[key] if towers[key] else None for key in ("folder", "adapter"))
            towers = SavedTowers(towers["source"], towers["fingerprint"], here, adapter)
            templates, fingerprint, learner = (plain.pop(key, None) for key in ("templates", "taxonomy", "learner"))
            if not all(isinstance(text, str) for level in templates for text in (level, *templates[level])):
                raise TypeError("templates are texts")
            if learner is not None:
                from hierfit.closed import Learner

                learner = Learner.load(learner, load_file(inside / _SUMS))
        taxonomy = Taxonomy.from_csv(inside / _TREE)
        with _damage_named(inside), torch.inference_mode():
            if taxonomy.fingerprint != fingerprint or len(head.nodes.text) != taxonomy.num_nodes:
                raise ValueError(f"{_TREE} is not the tree it was trained on")
            if learner is not None and len(learner.statistics.counts) != taxonomy.num_leaves:
                raise ValueError(f"{_SUMS} is of another tree")
            # What does not fit together fails here, and not when the first picture comes.
            feature = torch.full((1, head.nodes.text.shape[1]), head.nodes.text.shape[1] ** -0.5)
            logits = head(feature)
            if logits.shape != (1, taxonomy.num_nodes) or not logits.isfinite().all():
                raise ValueError("its scores are no numbers")
            belief(logits, taxonomy, calibration)
            if head.grows:
                head.nodes.of(feature, torch.zeros(1, dtype=torch.long))
        return cls(taxonomy, head, calibration, towers, templates, plain, learner)


def seen_through(run: str | None, task: Task) -> tuple[Head | None, Task]:
    """The head of a finished run, and a task as `Head.adapted` reads it: its images adapted, its text what the head
    compares them with. Without a run, the task as it is.

    Where a head learns of each class alone (a linear probe's weights are no text), text stays what it was.

    Raises:
        UserError: The run keeps no head, or it is of another tree or of other features.
    """
    if run is None:
        return None, task
    saved = SavedModel.read(Path(run))
    head, towers, backbone = saved.head, saved.towers, task.backbone
    width, problems, hint = head.nodes.text.shape[1], [], ""
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
    with torch.no_grad():
        features = None if task.train_features is None else head.adapted(task.train_features)
        text, scale = (head.nodes(), float(head.scale)) if head.grows else (head.read(task.text), task.logit_scale)
    return head, replace(task, text=text.to(task.text), train_features=features, logit_scale=scale)


def _calibration(plain: Mapping[str, Any], scores: Path) -> Calibration:
    if "scores" not in plain:  # version 0.1: a temperature for each decoder and level, which make no one belief
        return Calibration()
    conformal = load_file(scores)["conformal"] if scores.is_file() else None
    if conformal is not None and (conformal.ndim != 1 or not conformal.isfinite().all()):
        raise ValueError("its conformal scores are no vector of numbers")
    return Calibration.of(plain, conformal)


@contextmanager
def _damage_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (OSError, LookupError, ValueError, TypeError, RuntimeError, AttributeError, SafetensorError) as error:
        reason = str(error).strip().splitlines() or [""]
        raise UserError(f"the model in {folder} is damaged", [f"{type(error).__name__}: {reason[0]}"]) from error


def _no_model(folder: Path) -> UserError:
    if not folder.is_dir():
        return UserError(f"there is no folder {folder}", hint="Name a run (runs/…), or what `hierfit export` wrote.")
    if (folder / "result.json").is_file():
        return UserError(
            f"the run {folder} keeps no {FOLDER}/: its method has no head, or it is older than these are",
            hint=f"`hierfit test --config {folder}/config.yaml --ckpt_path {folder}/checkpoints/selected.ckpt` makes a "
            "new run with one. Without a head: `hierfit predict --config … --ckpt_path …`, on the test split.",
        )
    return UserError(
        f"{folder} is no run and no exported model: it has no {FILE}",
        hint="A run that has not finished its test has none yet.",
    )
