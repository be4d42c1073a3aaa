"""The image side of a model in ONNX: pixels in, logits and features out; checked against PyTorch."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from hierfit.errors import UserError
from hierfit.predict.predictor import Predictor

_TOLERATED = 1e-4  # of a feature's entries, and of logits over their scale
_OPSET = 17


class _ImageSide(nn.Module):
    def __init__(self, model: Predictor) -> None:
        super().__init__()
        self.backbone, self.head = model.backbone, model.head

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone.encode_image(pixels)
        return self.head(features), features


def write_onnx(model: Predictor, folder: Path) -> float:
    """Writes ``image.onnx``: ``pixels [B, 3, S, S]``, preprocessed, to ``logits [B, N]`` and ``features [B, d]``.

    Names of the nodes and the preprocessing are in its metadata, so that the file is enough. Returns the largest
    difference of a feature to PyTorch's.

    Raises:
        UserError: onnx or onnxruntime is not installed, or the two do not agree.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}", hint='pip install "hierfit[onnx]"') from error
    path, side, size = folder / "image.onnx", _ImageSide(model).eval(), model.backbone.image_size
    pixels = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))
    names = {"input_names": ["pixels"], "output_names": ["logits", "features"]}
    axes = {name: {0: "batch"} for group in names.values() for name in group}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing, and that another exporter is to be preferred
        # By tracing: the newer exporter takes twenty times as long for the same graph, and another package.
        options = {"dynamic_axes": axes, "opset_version": _OPSET, "dynamo": False}
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
    if not max(apart) < _TOLERATED:
        raise UserError(f"ONNX and PyTorch do not agree: they are {max(apart):.1e} apart, {_TOLERATED} is allowed")
    return apart[1]
