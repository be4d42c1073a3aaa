"""``hierfit export``: a run as a folder that needs neither the run, nor its data, nor Lightning."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from hierfit.atomic import whole_folder
from hierfit.backbone import Backbone
from hierfit.backbone.saving import save_merged
from hierfit.errors import UserError
from hierfit.methods.saved import SavedModel, Towers
from hierfit.predict.hub import check_login, push
from hierfit.predict.model_card import model_card
from hierfit.predict.predictor import Predictor, load
from hierfit.results.card import FILE as RESULT
from hierfit.results.card import ResultCard
from hierfit.results.collect import read_cards

_FILES = ("predictor.json", "head.safetensors", "taxonomy.csv", "calibration.safetensors", "towers", "image.onnx")


def export(arguments: Sequence[str]) -> None:
    """Writes the folder and says how to use it.

    Raises:
        UserError: There is no model, the folder exists, or an option cannot be had.
    """
    options = _parser().parse_args(arguments)
    if options.out.exists():
        raise UserError(f"{options.out} exists already", hint="Name a new folder.")
    if options.push:
        check_login()
    model = load(options.run, backbone=options.backbone)
    cards = _cards(options.run, options.seeds)
    with_towers = options.towers and (model.towers.fingerprint is not None or options.backbone is not None)
    if not options.towers and model.towers.adapter is not None:
        raise UserError("--no-towers: what this run has learnt lies in the towers")
    if options.onnx and not (with_towers or model.towers.fingerprint):
        raise UserError("--onnx: this model learnt from a file of features", hint="Name the towers: --backbone NAME.")
    with whole_folder(options.out) as draft:
        lines = write_export(model, draft, cards, with_towers, options.onnx)
    for line in lines:
        print(line)
    print(f"Written to {options.out}; README.md in it is the model card. To use it:")
    print(f"  python -c \"import hierfit; print(hierfit.load({str(options.out)!r}).predict(['image.jpg']))\"")
    if options.push:
        print(f"Pushed to {push(options.out, options.push, options.private)}")


def write_export(
    model: Predictor, folder: Path, cards: Sequence[ResultCard], with_towers: bool, with_onnx: bool = False
) -> list[str]:
    """Writes a model into a new folder, and checks that what was written gives the same logits.

    Args:
        model: As `load` opens it.
        folder: Does not exist yet.
        cards: Results for the model card.
        with_towers: Write the towers, too; else the model names them.
        with_onnx: Write the image side in ONNX, too.

    Returns:
        What was checked, a line each.

    Raises:
        UserError: The towers cannot be had, or ONNX cannot be written.
    """
    lines = []
    folder.mkdir(parents=True)
    towers = replace(model.towers, stated=True)
    if with_towers:
        save_merged(model.backbone, folder / "towers")
        copy = Backbone.load(str(folder / "towers"))
        towers = Towers(model.towers.source, copy.fingerprint, folder / "towers")
        lines.append(f"checked: the copy's logits are {_apart(model, copy):.1e} from the model's, over random pictures")
    head, facts = model.head.cpu(), model.facts
    SavedModel(model.taxonomy, head, model.calibration, towers, model.templates, facts).write(folder)
    if with_onnx:
        from hierfit.predict.onnx import write_onnx

        apart = write_onnx(model, folder)
        lines.append(f"checked: features of image.onnx are {apart:.1e} from PyTorch's")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors writes files that only their owner can read
    files = [name for name in _FILES if (folder / name).exists()]
    (folder / "README.md").write_text(model_card(model, folder.name, cards, files, with_towers), encoding="utf-8")
    return lines


@torch.inference_mode()
def _apart(model: Predictor, copy: Backbone) -> float:
    size = copy.image_size
    pixels = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    first, second = (model.head(towers.encode_image(pixels)) for towers in (model.backbone, copy))
    apart = float((first - second).abs().max())
    if not apart <= 1e-4:
        raise UserError(f"what was written is not the model: their logits are {apart:.1e} apart")
    return apart


def _cards(run: Path, seeds: Sequence[Path]) -> list[ResultCard]:
    found = [run] if (run / RESULT).is_file() else []
    return read_cards([*found, *seeds]) if found or seeds else []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hierfit export",
        description="Write what a run has learnt as one folder: safetensors, tree, calibration, prompts, towers and a "
        "model card. It loads without Lightning: hierfit.load(folder).predict(images).",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a run's folder, or a control's inside it")
    add("out", type=Path, metavar="OUT", help="folder to write; must not exist")
    add("--seeds", nargs="+", type=Path, default=[], metavar="RUN", help="the same with other seeds: intervals")
    add("--no-towers", dest="towers", action="store_false", help="name frozen towers instead of writing them")
    add("--backbone", metavar="NAME", help="towers for a model that learnt from a feature bundle")
    add("--onnx", action="store_true", help='also write the image side in ONNX (pip install "hierfit[onnx]")')
    add("--push", metavar="OWNER/NAME", help="push the folder to the Hugging Face hub")
    add("--private", action="store_true", help="of --push: make the repository private")
    return parser
