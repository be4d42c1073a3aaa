"""A small file system of its own for a test: it fills up, or becomes read-only, as disks do."""

from __future__ import annotations

import ctypes
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_NEW_MOUNTS, _PRIVATE = 0x00020000, 0x4C000  # of <sched.h> and <sys/mount.h>
_READ_ONLY, _REMOUNT, _BIND = 1, 32, 4096
_PAGE, _ROOM = os.sysconf("SC_PAGESIZE"), 16384
_NOT_ALLOWED = 77


class Disk:
    """A file system in memory, mounted where this process alone sees it.

    Args:
        place: Where; made.

    Raises:
        PermissionError: This process may not mount.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._call("unshare", _NEW_MOUNTS)
        self._call("mount", b"none", b"/", None, _PRIVATE, None)
        place.mkdir()
        self._call("mount", b"tmpfs", bytes(place), b"tmpfs", 0, f"size={_ROOM * _PAGE}".encode())

    def become(self, pages: int = _ROOM) -> None:
        """So large."""
        self._call("mount", b"none", bytes(self.place), None, _REMOUNT, f"size={pages * _PAGE}".encode())

    def fill(self, left: int = 0) -> None:
        """Leaves room for so many pages."""
        facts = os.statvfs(self.place)
        self.become(max(1, facts.f_blocks - facts.f_bfree) + left)  # a size of 0 is no limit

    def protect(self, folder: Path) -> None:
        """Makes a folder read-only, also for processes at work in it."""
        self._call("mount", bytes(folder), bytes(folder), None, _BIND, None)
        self._call("mount", b"none", bytes(folder), None, _BIND | _REMOUNT | _READ_ONLY, None)

    def release(self, folder: Path) -> None:
        """Undoes that."""
        self._call("umount", bytes(folder))

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._libc, name)(*arguments):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def on_a_disk(place: Path, work: Callable[[Disk], None]) -> str:
    """Works with a new disk in a forked child, whose mounts end with it; skips the test where none may be mounted.

    Returns:
        What the child has printed.
    """
    log = place.with_suffix(".log")
    if (child := os.fork()) == 0:
        code = 1
        try:
            sys.stdout = sys.stderr = log.open("w", buffering=1, encoding="utf-8")
            try:
                disk = Disk(place)
            except PermissionError:
                code = _NOT_ALLOWED
            else:
                work(disk)
                code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == _NOT_ALLOWED:
        pytest.skip("no leave to mount")
    said = log.read_text()
    assert code == 0, said
    return said
