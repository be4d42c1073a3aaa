"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write under; the file takes its real name when the block ends, and is removed when it fails.

    Readers see the old file or the new one, also when several processes write at once. Parent folders are
    made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield draft
        os.replace(draft, path)
    except OSError as error:
        if error.errno == errno.ENOSPC or error.filename == str(draft):
            error.filename, error.filename2 = str(path), None  # what could not be written; no draft, nor a source
        raise
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to make and fill, of the same name elsewhere; it takes its place when the block ends.

    Where the block fails nothing is left. Parent folders are made; the place must be free by the end of the block.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as made:
        draft = Path(made) / path.name
        yield draft
        draft.replace(path)
