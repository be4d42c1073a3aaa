"""``hierfit predict``: what a trained model says of images; ``hierfit learn``: it goes on learning."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from hierfit.atomic import whole_file
from hierfit.config.command import Say
from hierfit.errors import UserError
from hierfit.predict.export import check_new
from hierfit.streams import ALIKE

if TYPE_CHECKING:
    from hierfit.predict.answer import Answer, Question
    from hierfit.predict.predictor import Predictor

_ROWS_AT_ONCE = 4096  # of features
_PAGE_HEADING = "\n## Learnt since\n\n"


def predict(
    model: Annotated[Path, Say("a run's folder, or a model that `hierfit export` wrote", "RUN")],
    inputs: Annotated[
        list[str],
        Say(
            "images, folders, lists (.txt; .csv or .tsv with a column path), - for a list on stdin; or one feature "
            "bundle (.safetensors)",
            "INPUT",
        ),
    ],
    *,
    decoder: Annotated[
        str | None, Say("best_path, rollup, top_down, bayes, per_level (default: the one that val chose)", "NAME")
    ] = None,
    rank: Annotated[str | None, Say("stop at this level", "LEVEL")] = None,
    min_confidence: Annotated[float | None, Say("stop at the deepest node at least this probable", "P")] = None,
    max_error: Annotated[float | None, Say("stop so deep that at most this share of all answers is wrong", "A")] = None,
    within: Annotated[list[str], Say("only at, below or above this node; repeatable", "NODE", repeat=True)] = [],  # noqa: B006
    add_class: Annotated[
        list[str],
        Say("a class that training never saw, under a node of the tree; repeatable", "NAME:PARENT", repeat=True),
    ] = [],  # noqa: B006
    top: Annotated[int, Say("the K most likely paths (default: 1)", "K")] = 1,
    format: Annotated[
        Literal["table", "csv", "jsonl"] | None, Say("default: by the suffix of --out, else table")
    ] = None,
    out: Annotated[Path | None, Say("write to a file: .csv, .jsonl, or any other for a table", "FILE")] = None,
    split: Annotated[str, Say("of a feature bundle (default: test)")] = "test",
    backbone: Annotated[str | None, Say("towers for a model that learnt from a feature bundle", "NAME")] = None,
    device: Annotated[str | None, Say("default: cuda where there is one, else cpu")] = None,
    workers: Annotated[int | None, Say("processes that decode images; default: one a core", "N")] = None,
) -> None:
    """Paths through the tree, with calibrated probabilities, for images.

    examples:
      hierfit predict RUN photo.jpg                  the most likely path
      hierfit predict RUN photos/ --out labels.csv   all images below a folder
      hierfit predict RUN photos/ --min-confidence 0.8
                                                     as deep as it is sure
      hierfit predict RUN photos/ --max-error 0.05   so deep that 19 answers of 20
                                                     are right
      hierfit predict RUN photo.jpg --within Laridae --top 3
                                                     the best three of a family
      hierfit predict RUN photo.jpg --add-class "Ivory gull:Laridae"
      find . -name '*.png' | hierfit predict RUN - --format jsonl

    With --config RUN/config.yaml --ckpt_path RUN/checkpoints/selected.ckpt in the
    place of RUN, the test split of the run's own data is predicted through
    Lightning, into predictions.csv of a new run folder; any method can.

    exit status: 0; 1 when images could not be read; 2 when nothing could be done.
    """
    import torch

    from hierfit.data.encode import available_cores
    from hierfit.data.progress import with_progress
    from hierfit.predict.answer import Question
    from hierfit.predict.files import ANSWER_WRITERS, BUNDLE_SUFFIX, SUFFIXES, bundle_features, pictures
    from hierfit.predict.predictor import Answered, load

    say = partial(print, file=sys.stderr)
    loaded = load(model, backbone=backbone, device=device or ("cuda" if torch.cuda.is_available() else "cpu"))
    question = Question(decoder, top, rank, min_confidence, max_error, within)
    only_bundle = len(inputs) == 1 and Path(inputs[0]).suffix.lower() == BUNDLE_SUFFIX
    files = [] if only_bundle else pictures(inputs, sys.stdin)
    loaded = loaded.with_classes(add_class)
    question.check(loaded.taxonomy, loaded.calibration)
    if only_bundle:
        names, features, made_by = bundle_features(Path(inputs[0]), split, loaded.head.nodes.text.shape[1])
        if made_by != loaded.towers.source:
            say(f"warning: {made_by!r} made these features, the model learnt on those of {loaded.towers.source!r}")
        parts = (loaded.answers(rows, question) for rows in features.split(_ROWS_AT_ONCE))
        found: Iterator[Answered] = (Answered(answers) for part in parts for answers in part)
    else:
        names = [str(path) for path in files]
        _ = loaded.backbone  # what is wrong with it is said before a bar stands there
        found = loaded.ask(files, question, available_cores() if workers is None else workers)
    started, problems = time.monotonic(), list[str]()

    def readable() -> Iterator[tuple[str, Sequence[Answer]]]:
        for name, (answers, problem) in zip(names, with_progress(found, len(names), "predicting"), strict=True):
            if problem:
                problems.append(problem)
            else:
                yield name, answers

    write = ANSWER_WRITERS[format or (SUFFIXES.get(out.suffix.lower()) if out else None) or "table"]
    if out is None:
        write(sys.stdout, loaded.taxonomy.levels, top, readable())
    else:
        with whole_file(out) as draft, draft.open("w", encoding="utf-8", errors=ALIKE, newline="") as file:
            write(file, loaded.taxonomy.levels, top, readable())
    seconds, count = time.monotonic() - started, len(names)
    if not loaded.calibration.images:
        say("The probabilities are not calibrated: the run had no validation split, or hierfit 0.1 made it.")
    for line in _promise(loaded, question):
        say(line)
    say(f"{count} image{'' if count == 1 else 's'} in {seconds:.1f} s ({count / max(seconds, 1e-9):.0f} images/s)")
    if out is not None:
        say(f"Written to {out}")
    if problems:
        say(str(UserError(f"{len(problems)} of {count} images could not be read and were passed over:", problems)))
        sys.exit(1)


def _promise(model: Predictor, question: Question) -> Iterator[str]:
    """What an answer that may stop early is worth, in words."""
    made = f"{model.calibration.images} validation images"
    if question.min_confidence is not None and model.calibration.images:
        yield (
            f"Every node has a probability of at least {question.min_confidence:g}, calibrated on {made}: "
            "right that often on average, no guarantee. --max-error gives one."
        )
    if question.max_error is not None:
        yield (
            f"At most {question.max_error:.1%} of all answers are wrong, silence counting as right, for pictures like "
            f"the {made} (split conformal). Among those answered the share can be higher."
        )
        measured = model.facts.get("max_error")
        found = measured.get(f"{question.max_error:g}") if isinstance(measured, dict) else None
        if found and found.get("error") is not None:
            yield (
                f"On the test split: {found['error']:.1%} wrong of all; {found['coverage']:.1%} answered, and of those "
                f"{found['answered_error']:.1%} wrong."
            )


def learn(
    model: Annotated[Path, Say("what `hierfit export` wrote, or a run with --out", "MODEL")],
    photos: Annotated[list[str], Say("pictures, folders of them, or - for a list on stdin", "PHOTO")] = [],  # noqa: B006
    *,
    label: Annotated[
        str | None, Say("their class; a new one under its group: Larus/Ivory gull, or /NAME without", "LABEL")
    ] = None,
    forget: Annotated[str | None, Say("drop a class instead", "LABEL")] = None,
    out: Annotated[Path | None, Say("write to a new folder; default: MODEL itself is changed", "OUT")] = None,
    backbone: Annotated[str | None, Say("towers for a model that learnt from a feature bundle", "NAME")] = None,
) -> None:
    """Teach a model that TreeGDA fitted more images, or a new class, without the images it learnt from.

    In closed form: what comes out is what a fit to all images together would be, at the same temperature. The tree and
    the model's page are changed with it. What --max-error promised no longer holds and is dropped.

    examples:
      hierfit learn OUT photos/ --label "Laridae/Larus/Ivory gull"
      hierfit learn OUT --forget "Ivory gull"
    """
    from hierfit.data.encode import available_cores
    from hierfit.predict.classes import forgotten, learnt, place
    from hierfit.predict.files import pictures
    from hierfit.predict.predictor import load
    from hierfit.results.runs import run_folder

    if (label is None) == (forget is None) or (label is not None) != bool(photos):
        raise UserError("give photos with --label, or --forget alone")
    model = run_folder(model)
    if out is None and not (model / "predictor.json").is_file():
        raise UserError(
            f"{model} is a run: it stays as it was", hint="Write the changed model elsewhere: --out FOLDER."
        )
    if out is not None:
        check_new(out)
    predictor = load(model, backbone=backbone)
    path = place(predictor.taxonomy, label or forget or "")
    if label is not None:
        files = pictures(photos, sys.stdin)
        features = predictor.encode(files, available_cores() if len(files) > 64 else 0)
        started = time.monotonic()
        changed = learnt(predictor, features, label)
        new = "new " * (changed.taxonomy.num_leaves > predictor.taxonomy.num_leaves)
        line = f"{len(files)} image{'s' * (len(files) != 1)} of {new}{'/'.join(path)}"
    else:
        started = time.monotonic()
        changed, line = forgotten(predictor, path), f"forgot {'/'.join(path)}"
    milliseconds = 1000 * (time.monotonic() - started)
    _write(changed, model, out or model, line)
    print(f"{line}: {changed.taxonomy.num_leaves} classes, {milliseconds:.0f} ms beside encoding and writing")
    print(f"Written to {out or model}")


def _write(model: Predictor, source: Path, out: Path, line: str) -> None:
    """Writes the folder anew beside the old one, then takes its place."""
    from hierfit.atomic import whole_folder
    from hierfit.methods.saved import FILE, FOLDER, SavedModel

    def linked(file: str, target: str) -> None:
        """A second name for a file that stays as it is; a copy where the file system has no such thing."""
        try:
            os.link(file, target)
        except OSError:
            shutil.copy2(file, target)

    source = source if (source / FILE).is_file() else source / FOLDER
    fresh = out if out != source else source.with_name(f".{source.name}.learnt")
    with whole_folder(fresh) as draft:
        shutil.copytree(source, draft, copy_function=linked)
        for stale in ("calibration.safetensors", "image.onnx"):
            (draft / stale).unlink(missing_ok=True)
        towers = SavedModel.read(source).towers  # not those that --backbone named
        if towers.folder is not None and towers.folder.resolve().is_relative_to(source.resolve()):
            towers = replace(towers, folder=draft / towers.folder.name)
        replace(model, head=model.head.cpu(), towers=towers).write(draft)
        page = draft / "README.md"
        text = page.read_text(encoding="utf-8") if page.is_file() else "# Model\n"
        text += ("" if _PAGE_HEADING in text else _PAGE_HEADING) + f"- {date.today()}: {line}\n"
        page.unlink(missing_ok=True)  # a link to the old one
        page.write_text(text, encoding="utf-8")
    if out == source:
        old = source.with_name(f".{source.name}.before")
        source.replace(old)
        fresh.replace(source)
        shutil.rmtree(old)
