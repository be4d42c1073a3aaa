"""Files and folders that appear whole or not at all, and locks of those who write them."""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


_held: set[int] = set()


def _leave_to_parent() -> None:
    """A forked worker must not keep a lock that its parent dies with."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):  # not on Windows, where there are no locks either
    os.register_at_fork(after_in_child=_leave_to_parent)


class Lock:
    """A file that one process at a time holds; the kernel lets go of it when that process dies.

    It is there only while somebody holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def take(self, wait: bool = False) -> bool:
        """Takes it, now or (wait) when nobody else holds it any more; whether it is ours."""
        import fcntl  # not on Windows

        while self._descriptor not in _held:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(descriptor)
                return False
            with suppress(FileNotFoundError):  # whoever held it may have removed it since it was opened
                if os.path.samestat(os.stat(self.path), os.fstat(descriptor)):
                    self._descriptor = descriptor
                    _held.add(descriptor)
                    return True
            os.close(descriptor)
        return True

    def release(self) -> None:
        """Lets others have it."""
        if self._descriptor in _held:
            with suppress(OSError):  # not there any more, or read-only: an empty file holds nobody up
                self.path.unlink()
            _held.remove(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def sole(folder: Path, wait: bool) -> Iterator[bool]:
    """Keeps every other process off a folder while the block runs; whether it is ours.

    Args:
        folder: Need not exist; the lock lies beside it.
        wait: Wait until nobody else is at work on it, so that it is ours.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(folder.with_name(f".{folder.name}.lock"))
    try:
        yield lock.take(wait)
    finally:
        lock.release()
