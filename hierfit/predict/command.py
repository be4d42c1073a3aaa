"""``hierfit predict``: what a trained model says of images."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

import torch

from hierfit.atomic import whole_file
from hierfit.data.encode import available_cores
from hierfit.data.progress import with_progress
from hierfit.decoding import BELIEF_DECODERS
from hierfit.errors import UserError
from hierfit.predict.answer import Answer, Question
from hierfit.predict.inputs import BUNDLE, bundle_features, pictures
from hierfit.predict.output import SUFFIXES, WRITERS, Format
from hierfit.predict.predictor import Answered, Predictor, load

_ROWS = 4096  # of features at once
_EPILOG = """\
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

exit status: 0; 1 when images could not be read; 2 when nothing could be done."""


def predict(arguments: Sequence[str]) -> None:
    """Predicts, and says how fast and what could not be read.

    Raises:
        UserError: The model, the inputs or the question is at fault.
        SystemExit: With status 1, when images could not be read.
    """
    options = _parser().parse_args(arguments)
    form = options.format or (SUFFIXES.get(options.out.suffix.lower()) if options.out else None) or "table"
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = load(options.model, backbone=options.backbone, device=device)
    question = Question(
        options.decoder, options.top, options.rank, options.min_confidence, options.max_error, options.within
    )
    only_bundle = len(options.inputs) == 1 and Path(options.inputs[0]).suffix.lower() == BUNDLE
    files = [] if only_bundle else pictures(options.inputs, sys.stdin)
    model = model.with_classes(options.add_class)
    question.check(model.taxonomy, model.calibration)
    if only_bundle:
        names, features, made_by = bundle_features(
            Path(options.inputs[0]), options.split, model.head.nodes.text.shape[1]
        )
        if made_by != model.towers.source:
            _say(f"warning: {made_by!r} made these features, the model learnt on those of {model.towers.source!r}")
        batches: Iterator[Answered] = _of_features(model, features, question)
    else:
        names = [str(path) for path in files]
        _ = model.backbone  # what is wrong with it is said before a bar stands there
        batches = model.ask(files, question, available_cores() if options.workers is None else options.workers)
    started, problems = time.monotonic(), list[str]()
    with _opened(options.out) as file:
        writer = WRITERS[cast("Format", form)](file, model.taxonomy.levels, options.top)
        for name, answers, problem in _named(names, with_progress(batches, len(names), "predicting", _size)):
            if problem:
                problems.append(problem)
            else:
                writer.write(name, answers)
        writer.close()
    _close(len(names), time.monotonic() - started, problems, model, question, options.out)


def _of_features(model: Predictor, features: torch.Tensor, question: Question) -> Iterator[Answered]:
    for part in features.split(_ROWS):
        yield Answered(model.answers(part, question), {})


def _named(names: Sequence[str], batches: Iterator[Answered]) -> Iterator[tuple[str, list[Answer], str]]:
    start = 0
    for batch in batches:
        for row, answers in enumerate(batch.answers):
            yield names[start + row], answers, batch.problems.get(row, "")
        start += len(batch.answers)


def _size(batch: Answered) -> int:
    return len(batch.answers)


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    if out is not None:
        with whole_file(out) as draft, draft.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:  # `… | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _close(
    count: int, seconds: float, problems: Sequence[str], model: Predictor, question: Question, out: Path | None
) -> None:
    if not model.calibration.images:
        _say("The probabilities are not calibrated: the run had no validation split, or hierfit 0.1 made it.")
    for line in promise(model, question):
        _say(line)
    _say(f"{count} image{'' if count == 1 else 's'} in {seconds:.1f} s ({count / max(seconds, 1e-9):.0f} images/s)")
    if out is not None:
        _say(f"Written to {out}")
    if problems:
        error = UserError(f"{len(problems)} of {count} images could not be read and were passed over:", problems)
        _say(str(error))
        sys.exit(1)


def promise(model: Predictor, question: Question) -> list[str]:
    """What an answer that may stop early is worth, in words."""
    images, made = model.calibration.images, f"{model.calibration.images} validation images"
    if question.min_confidence is not None and images:
        return [
            f"Every node has a probability of at least {question.min_confidence:g}, calibrated on {made}: "
            "right that often on average, no guarantee. --max-error gives one."
        ]
    if question.max_error is None:
        return []
    lines = [
        f"At most {question.max_error:.1%} of all answers are wrong, silence counting as right, for pictures like the "
        f"{made} (split conformal). Among those answered the share can be higher."
    ]
    measured = model.facts.get("max_error")
    found = measured.get(f"{question.max_error:g}") if isinstance(measured, Mapping) else None
    if found and found.get("error") is not None:
        lines.append(
            f"On the test split: {found['error']:.1%} wrong of all; {found['coverage']:.1%} answered, and of those "
            f"{found['answered_error']:.1%} wrong."
        )
    return lines


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hierfit predict",
        description="Paths through the tree, with calibrated probabilities, for images.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", type=Path, metavar="RUN", help="a run's folder, or a model that `hierfit export` wrote")
    add(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="images, folders, lists (.txt; .csv or .tsv with a column path), - for a list on stdin; or one feature "
        "bundle (.safetensors)",
    )
    add("--decoder", metavar="NAME", help=f"{', '.join(BELIEF_DECODERS)} (default: the one that val chose)")
    add("--rank", metavar="LEVEL", help="stop at this level")
    add("--min-confidence", type=float, metavar="P", help="stop at the deepest node at least this probable")
    add("--max-error", type=float, metavar="A", help="stop so deep that at most this share of all answers is wrong")
    add("--within", action="append", default=[], metavar="NODE", help="only at, below or above this node; repeatable")
    add(
        "--add-class",
        action="append",
        default=[],
        metavar="NAME:PARENT",
        help="a class that training never saw, under a node of the tree; repeatable",
    )
    add("--top", type=int, default=1, metavar="K", help="the K most likely paths (default: 1)")
    add("--format", choices=list(WRITERS), help="default: by the suffix of --out, else table")
    add("--out", type=Path, metavar="FILE", help="write to a file: .csv, .jsonl, or any other for a table")
    add("--split", default="test", help="of a feature bundle (default: test)")
    add("--backbone", metavar="NAME", help="towers for a model that learnt from a feature bundle")
    add("--device", help="default: cuda where there is one, else cpu")
    add("--workers", type=int, metavar="N", help="processes that decode images; default: one a core")
    return parser
