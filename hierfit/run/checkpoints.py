"""How checkpoints are written and read: whole or not at all, and never as code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from hierfit.atomic import whole_file
from hierfit.errors import UserError


class Checkpoints(TorchCheckpointIO):
    """Tensors and plain containers in a torch file that is replaced in one go."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            UserError: There is no room, or no leave to write.
        """
        try:
            with whole_file(Path(path)) as draft:
                torch.save(checkpoint, draft)
        except (OSError, RuntimeError) as error:  # torch's own writer reports a full disk as a RuntimeError
            raise UserError(
                f"{path} cannot be written: {str(error).splitlines()[0]}",
                hint="What was saved before is whole. Make room; the same command then goes on from there.",
            ) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, loc: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Reads a checkpoint; whatever is asked for, objects that run code when they are read are refused.

        Raises:
            UserError: It holds such objects, or is none.
        """
        return read_checkpoint(Path(path), map_location)


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads a checkpoint's tensors and plain containers; never runs code that it may hold.

    Raises:
        UserError: It holds anything else, or is no checkpoint.
    """
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"There is no checkpoint {path}.") from error
    except Exception as error:  # what torch's readers raise on files of any kind has no common root
        raise UserError(
            f"{path} cannot be read as a checkpoint: {next(iter(str(error).splitlines()), type(error).__name__)}",
            hint="hierfit reads tensors and plain values only, and none of the code a pickle may hold.",
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} cannot be read as a checkpoint: it holds a {type(content).__name__}")
    return content
