"""``hierfit export``: a run as a folder that needs neither the run, nor its data, nor Lightning; ``hierfit merge``."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from hierfit.config.command import Say
from hierfit.errors import UserError

if TYPE_CHECKING:
    from hierfit.backbone import Backbone
    from hierfit.predict.predictor import Predictor
    from hierfit.results.card import ResultCard

_APART = 1e-4  # of logits of a copy; in ONNX of a feature's entries, and of logits over their scale


def export(
    run: Annotated[Path, Say("a run's folder, or a control's inside it", "RUN")],
    out: Annotated[Path, Say("folder to write; must not exist", "OUT")],
    *,
    seeds: Annotated[list[Path], Say("the same with other seeds: intervals", "RUN")] = [],  # noqa: B006
    no_towers: Annotated[bool, Say("name frozen towers instead of writing them")] = False,
    backbone: Annotated[str | None, Say("towers for a model that learnt from a feature bundle", "NAME")] = None,
    onnx: Annotated[bool, Say('also write the image side in ONNX (pip install "hierfit[onnx]")')] = False,
    push: Annotated[str | None, Say("push the folder to the Hugging Face hub", "OWNER/NAME")] = None,
    private: Annotated[bool, Say("of --push: make the repository private")] = False,
) -> None:
    """Write what a run has learnt as one folder: safetensors, tree, calibration, prompts, towers and a model card.

    It loads without Lightning: hierfit.load(folder).predict(images).
    """
    from hierfit.atomic import whole_folder
    from hierfit.predict import hub
    from hierfit.predict.predictor import load
    from hierfit.results.card import FILE
    from hierfit.results.runs import read_cards, run_folder

    check_new(out)
    run = run_folder(run)
    if push:
        hub.check_login()
    model = load(run, backbone=backbone)
    found = [*([run] if (run / FILE).is_file() else []), *seeds]
    cards = read_cards(found) if found else []
    with_towers = not no_towers and (model.towers.fingerprint is not None or backbone is not None)
    if no_towers and model.towers.adapter is not None:
        raise UserError("--no-towers: what this run has learnt lies in the towers")
    if onnx and not (with_towers or model.towers.fingerprint):
        raise UserError("--onnx: this model learnt from a file of features", hint="Name the towers: --backbone NAME.")
    with whole_folder(out) as draft:
        lines = write_export(model, draft, cards, with_towers, onnx)
    for line in lines:
        print(line)
    print(f"Written to {out}; README.md in it is the model card. To use it:")
    print(f"  python -c \"import hierfit; print(hierfit.load({str(out)!r}).predict(['image.jpg']))\"")
    if push:
        print(f"Pushed to {hub.push(out, push, private)}")


def write_export(
    model: Predictor, folder: Path, cards: Sequence[ResultCard], with_towers: bool, with_onnx: bool = False
) -> list[str]:
    """Writes a model into a new folder, and checks that what was written gives the same logits.

    Without towers the model names them; cards are the results for its page. Returns what was checked, a line each.
    """
    from hierfit.backbone import Backbone
    from hierfit.backbone.loading import save_merged
    from hierfit.methods.saved import SavedTowers

    lines, towers = [], replace(model.towers, stated=True)
    folder.mkdir(parents=True)
    if with_towers:
        save_merged(model.backbone, folder / "towers")
        copy = Backbone.load(str(folder / "towers"))
        towers = SavedTowers(model.towers.source, copy.fingerprint, folder / "towers")
        lines.append(f"checked: the copy's logits are {_apart(model, copy):.1e} from the model's, over random pictures")
    replace(model, head=model.head.cpu(), towers=towers).write(folder)
    if with_onnx:
        lines.append(f"checked: features of image.onnx are {write_onnx(model, folder):.1e} from PyTorch's")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors writes files that only their owner can read
    (folder / "README.md").write_text(_model_card(model, folder, cards), encoding="utf-8")
    return lines


def _apart(model: Predictor, copy: Backbone) -> float:
    import torch

    pixels = torch.randn(4, 3, copy.image_size, copy.image_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        first, second = (model.head(towers.encode_image(pixels)) for towers in (model.backbone, copy))
    apart = float((first - second).abs().max())
    if not apart <= _APART:
        raise UserError(f"what was written is not the model: their logits are {apart:.1e} apart")
    return apart


def write_onnx(model: Predictor, folder: Path) -> float:
    """Writes ``image.onnx``: ``pixels [B, 3, S, S]``, preprocessed, to ``logits [B, N]`` and ``features [B, d]``.

    Names of the nodes and the preprocessing are in its metadata, so that the file is enough. Returns the largest
    difference of a feature to PyTorch's; raises `UserError` where the two do not agree.
    """
    import torch
    from torch import Tensor, nn

    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}", hint='pip install "hierfit[onnx]"') from error

    class ImageSide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = model.backbone, model.head

        def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
            features = self.backbone.encode_image(pixels)
            return self.head(features), features

    path, side, size = folder / "image.onnx", ImageSide().eval(), model.backbone.image_size
    pixels = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    names = {"input_names": ["pixels"], "output_names": ["logits", "features"]}
    axes = {name: {0: "batch"} for group in names.values() for name in group}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing, and that another exporter is to be preferred
        # By tracing: the newer exporter takes twenty times as long for the same graph, and another package.
        options = {"dynamic_axes": axes, "opset_version": 17, "dynamo": False}
        torch.onnx.export(side, (pixels[:2],), str(path), **names, **options)  # type: ignore[arg-type]
        expected = side(pixels)
    graph, tree, transform = onnx.load(str(path)), model.taxonomy, model.backbone.preprocess
    about = {"levels": tree.levels, "names": tree.names, "parent": tree.parent.tolist()}
    about |= {name: getattr(transform, name) for name in ("size", "shortest_edge", "mean", "std")}
    for key, value in about.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value, ensure_ascii=False)
    onnx.save(graph, str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = [torch.from_numpy(array) for array in session.run(None, {"pixels": pixels.numpy()})]
    scales = max(float(model.head.scale), 1.0), 1.0
    apart = [float((a - b).abs().max()) / s for a, b, s in zip(found, expected, scales, strict=True)]
    if not max(apart) < _APART:
        raise UserError(f"ONNX and PyTorch do not agree: they are {max(apart):.1e} apart, {_APART} is allowed")
    return apart[1]


def _model_card(model: Predictor, folder: Path, cards: Sequence[ResultCard]) -> str:
    """README.md: what the model is, how to use it, what was measured, whose data it learnt from.

    What else is exported lies in the folder already.
    """
    from jinja2 import Environment

    from hierfit.results.summary import tables
    from hierfit.results.writers import as_markdown

    template = Path(__file__).with_name("model_card.jinja").read_text("utf-8")
    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    return environment.from_string(template).render(
        tree=model.taxonomy,
        towers=model.towers,
        grows=model.head.grows,
        calibration=model.calibration,
        facts=model.facts,
        data=model.facts.get("data") or {},
        ece=model.calibration.ece or [math.nan] * 2,
        folder=folder.name,
        files={path.name for path in folder.iterdir()},
        version=next((card.versions.get("hierfit", "") for card in cards), ""),
        results=as_markdown(tables(cards)).strip() if cards else "",
        seeds=len({card.seed for card in cards}),
        selected=sorted({card.selected_on for card in cards if card.parameters.get("trainable")}),
    )


def merge(
    adapter: Annotated[Path, Say("a run's adapter folder, or the run", "RUN")],
    out: Annotated[Path, Say("folder to write", "OUT")],
    *,
    backbone: Annotated[
        str | None, Say("what the adapter was trained on; default: as the adapter says", "NAME")
    ] = None,
) -> None:
    """Merge a LoRA adapter into its backbone: one transformers folder, no peft."""
    from hierfit.backbone.source import read_object
    from hierfit.results.runs import run_folder

    adapter = run_folder(adapter)
    folder = adapter / "adapter" if (adapter / "adapter").is_dir() else adapter
    config = folder / "adapter_config.json"
    if not config.is_file():
        hint = "A HierLoRA run keeps one in adapter/."
        raise UserError(f"{folder} is no adapter: it has no {config.name}", hint=hint)
    check_new(out)
    found, fault = read_object(config)
    source = backbone or found.get("base_model_name_or_path")
    if not isinstance(source, str):
        raise UserError(f"{config}: {fault or 'it names no backbone'}", hint="Name it: --backbone NAME.")

    from hierfit.backbone import Backbone
    from hierfit.backbone.loading import save_merged
    from hierfit.methods.lora import open_adapter
    from hierfit.run.quiet import quieten

    quieten()
    towers = Backbone.load(source)
    open_adapter(towers, folder)
    save_merged(towers, out)
    print(f"Written to {out}: use it as data.backbone, or with transformers.")


def check_new(out: Path) -> None:
    """Refuses to write over a folder."""
    if out.exists():
        raise UserError(f"{out} exists already", hint="Name a new folder.")
