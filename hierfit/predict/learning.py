"""``hierfit learn``: more images, a new class, or one class less, for a model that is in use."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from hierfit.config.command import Say
from hierfit.errors import UserError

if TYPE_CHECKING:
    from hierfit.predict.predictor import Predictor

_HEADING = "\n## Learnt since\n\n"


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

    Raises:
        UserError: The model cannot learn, a class has no place, or pictures cannot be read.
    """
    import sys

    from hierfit.data.encode import available_cores
    from hierfit.predict.growth import place
    from hierfit.predict.inputs import pictures
    from hierfit.predict.predictor import load
    from hierfit.results.runs import run_folder

    if (label is None) == (forget is None) or (label is not None) != bool(photos):
        raise UserError("give photos with --label, or --forget alone")
    model = run_folder(model)
    if out is None and not (model / "predictor.json").is_file():
        raise UserError(
            f"{model} is a run: it stays as it was", hint="Write the changed model elsewhere: --out FOLDER."
        )
    if out is not None and out.exists():
        raise UserError(f"{out} exists already", hint="Name a new folder.")
    predictor = load(model, backbone=backbone)
    before = predictor.taxonomy.num_leaves
    if label is not None:
        path, files = place(predictor.taxonomy, label), pictures(photos, sys.stdin)
        features = predictor.encode(files, available_cores() if len(files) > 64 else 0)
        started = time.monotonic()
        from hierfit.predict import learn as closed

        predictor = closed.learn(predictor, features, label)
        what = f"{len(files)} image{'s'[: len(files) != 1]} of {'new ' * (predictor.taxonomy.num_leaves > before)}"
    else:
        assert forget is not None
        path, started, what = place(predictor.taxonomy, forget), time.monotonic(), "forgot "
        predictor = predictor.forget(path)
    seconds, line = time.monotonic() - started, f"{what}{'/'.join(path)}"
    _write(predictor, model, out or model, line)
    print(f"{line}: {predictor.taxonomy.num_leaves} classes, {1000 * seconds:.0f} ms beside encoding and writing")
    print(f"Written to {out or model}")


def _write(model: Predictor, source: Path, out: Path, line: str) -> None:
    """Writes the folder anew beside the old one, then takes its place."""
    from hierfit.atomic import whole_folder
    from hierfit.methods.saved import FILE, FOLDER, SavedModel

    source = source if (source / FILE).is_file() else source / FOLDER
    fresh = out if out != source else source.with_name(f".{source.name}.learnt")
    with whole_folder(fresh) as draft:
        shutil.copytree(source, draft, copy_function=_linked)
        for stale in ("calibration.safetensors", "image.onnx"):
            (draft / stale).unlink(missing_ok=True)
        towers = SavedModel.read(source).towers  # not those that --backbone named
        if towers.folder is not None and towers.folder.resolve().is_relative_to(source.resolve()):
            towers = replace(towers, folder=draft / towers.folder.name)
        replace(model, head=model.head.cpu(), towers=towers).write(draft)
        page = draft / "README.md"
        text = page.read_text(encoding="utf-8") if page.is_file() else "# Model\n"
        text += ("" if _HEADING in text else _HEADING) + f"- {date.today()}: {line}\n"
        page.unlink(missing_ok=True)  # a link to the old one
        page.write_text(text, encoding="utf-8")
    if out == source:
        old = source.with_name(f".{source.name}.before")
        source.replace(old)
        fresh.replace(source)
        shutil.rmtree(old)


def _linked(source: str, target: str) -> None:
    """A second name for a file that stays as it is; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
