"""Tensors on disk, as safetensors."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from hierfit.atomic import whole_file


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> None:
    """Writes a file that appears whole or not at all.

    Args:
        path: The file.
        tensors: Each contiguous, with memory of its own.
        facts: Its metadata.

    Raises:
        OSError: There is no room, or no leave to write.
    """
    with as_os_error(path), whole_file(path) as draft:
        save_file(dict(tensors), draft, None if facts is None else dict(facts))


@contextmanager
def as_os_error(path: Path) -> Iterator[None]:
    """What the system refuses to safetensors as the `OSError` that it is; safetensors tells it in words alone."""
    try:
        yield
    except SafetensorError as error:
        if (number := re.search(r"os error (\d+)", str(error))) is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path)) from error
