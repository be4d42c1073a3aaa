"""Points of a space as a run keeps them: small, and readable without the method that made them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from hierfit.errors import UserError
from hierfit.geometry.space import Space
from hierfit.tensors import read_tensors, write_tensors

EMBEDDINGS = "embeddings.safetensors"
_EMBEDDINGS_FORMAT = "hierfit.embeddings/1"

_HALF_LARGEST = torch.finfo(torch.float16).max


@dataclass(frozen=True)
class Embeddings:
    """Classes, images and attributes in normal coordinates of their space, see `Space.normal_coordinates`.

    Attributes:
        space: Where they live.
        nodes: Every node of the tree ``[N, m]``.
        images: Some test images ``[k, m]``.
        indices: Their rows in the test split ``[k]``.
        attributes: ``[M, m]``; None for a method without.
    """

    space: Space
    nodes: Tensor
    images: Tensor
    indices: Tensor
    attributes: Tensor | None = None

    def write(self, folder: Path) -> None:
        """Writes the file into a run's folder, in half precision: directions and radii to three digits."""
        kinds = {"nodes": self.nodes, "images": self.images, "attributes": self.attributes}
        tensors = {name: points.half().cpu().contiguous() for name, points in kinds.items() if points is not None}
        metadata = {"format": _EMBEDDINGS_FORMAT, "space": json.dumps(asdict(self.space))}
        write_tensors(folder / EMBEDDINGS, {**tensors, "indices": self.indices.cpu().contiguous()}, metadata)

    @classmethod
    def read(cls, folder: Path) -> Embeddings | None:
        """Reads a run's file, in single precision; None where the run has none, a `UserError` where it is damaged."""
        path = folder / EMBEDDINGS
        if not path.is_file():
            return None
        try:
            tensors, facts = read_tensors(path)
            if facts.get("format") != _EMBEDDINGS_FORMAT:
                raise ValueError(f"it is not {_EMBEDDINGS_FORMAT}")
            space, indices = Space(**json.loads(facts["space"])), tensors.pop("indices")
            points = {name: value.to(torch.float32) for name, value in tensors.items()}
            sound = (
                all(x.is_floating_point() and x.ndim == 2 for x in tensors.values())
                and all((x.abs() <= _HALF_LARGEST).all() for x in points.values())
                and len({x.shape[1] for x in points.values()}) == 1
                and (indices.dtype, indices.shape) == (torch.int64, points["images"].shape[:1])
            )
            if not sound:
                raise ValueError("its points are damaged, or do not fit together")
            return cls(space, points["nodes"], points["images"], indices, points.get("attributes"))
        except (OSError, SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise UserError(f"{path} cannot be read: {error}") from error
