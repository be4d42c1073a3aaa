"""One harness for all fuzzers: each case runs in a child that is watched, and its ending is counted.

A fuzzer is a few `Reader`s. A case makes a hostile file from its seed alone, and reads it as hierfit does. Two endings
are right: it is read, or a `UserError` says why not. All others are faults:

* ``traceback``: any other exception; ``wrong``: read, but not as it stands, or sound and refused;
* ``hang``: longer than `SECONDS`; ``memory``: more than `MEBIBYTES` above what was held before; ``died``;
* ``escape``: something was written outside the case's folder, or a secret beside it was opened;
* ``code``: a program was started, or something in the file was run: it left `hostile.MARK`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

from hostile import MARK, Damage

from hierfit.data.layouts.matlab import READER
from hierfit.errors import UserError

SECONDS, MEBIBYTES = 20, 1024
FAULTS = ("traceback", "wrong", "hang", "memory", "died", "escape", "code", "unmade")
SECRETS = "secrets"
"""Beside the cases' folder: a folder that no case may open."""

_SOUND = 0.03  # of cases whose file is as it was: these must be read
_AT_ONCE = 200
_FORK = multiprocessing.get_context("fork")
_PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.truncate")


class WrongError(Exception):
    """Something was read, but not as it stands in the file."""


Attempt = tuple[str, Callable[[], object]]
"""What was done to a file, and its reading."""

Attempts = Callable[[random.Random], Attempt]
"""Makes the attempt of a case, from its generator."""


@dataclass(frozen=True)
class Reader:
    """Something that reads files.

    Attributes:
        name: In the report.
        make: From an empty folder of its own to what makes the attempt of a case.
        share: Of the cases asked for: readers that take long get fewer.
    """

    name: str
    make: Callable[[Path], Attempts]
    share: float = 1.0


def of_files(files: Mapping[Path, Damage], read: Callable[[], object]) -> Attempts:
    """Each case damages one of some files; the others are as they were."""
    sound = {path: path.read_bytes() for path in files}

    def attempt(rng: random.Random) -> Attempt:
        for path, content in sound.items():
            path.write_bytes(content)
        if rng.random() < _SOUND:
            return "none", read
        path = rng.choice(list(files))
        kind, content = files[path](sound[path], rng)
        path.write_bytes(content)
        return f"{path.name}: {kind}" if len(files) > 1 else kind, read

    return attempt


def one_of(*ways: Attempts) -> Attempts:
    """Each case goes one of some ways."""
    return lambda rng: rng.choice(ways)(rng)


class Case(NamedTuple):
    """How a case ended: ``read``, ``refused`` or one of `FAULTS`."""

    reader: str
    number: int
    mutation: str
    ending: str
    detail: str


class _HangError(BaseException):
    """No `Exception`: a reader that takes all of those for damage must not take this one."""


def run(readers: Sequence[Reader], cases: int, seed: int, jobs: int = 1) -> Iterator[Case]:
    """All cases of all readers as they end, several readers at a time.

    Args:
        readers: Whose.
        cases: Of each, times its share.
        seed: Of all.
        jobs: Children at a time.
    """
    with tempfile.TemporaryDirectory() as scratch:
        waiting = [_Lane(reader, cases, seed, Path(scratch) / str(i)) for i, reader in enumerate(readers)]
        waiting.sort(key=lambda lane: lane.reader.share, reverse=True)
        busy: list[_Lane] = []
        while waiting or busy:
            while waiting and len(busy) < jobs:
                busy.append(waiting.pop(0))
                busy[-1].start()
            wait([lane.pipe for lane in busy], timeout=1.0)
            for lane in list(busy):
                yield from lane.ended()
                if lane.next >= lane.count and not lane.child.is_alive():
                    busy.remove(lane)


class _Lane:
    """The cases of one reader, some hundred in a child; where one ends the child, the next child takes over."""

    def __init__(self, reader: Reader, cases: int, seed: int, folder: Path) -> None:
        self.reader, self.seed, self.folder = reader, seed, folder
        self.next, self.count = 0, max(1, round(cases * reader.share))

    def start(self) -> None:
        self.pipe, writing = _FORK.Pipe(duplex=False)
        self.child = _FORK.Process(target=_work, args=(self, writing))
        self.child.start()
        writing.close()
        self.since = time.monotonic()

    def ended(self) -> Iterator[Case]:
        """What has ended since it was asked last."""
        if time.monotonic() - self.since > 3 * SECONDS:
            self.child.kill()  # it does not come back from C to hear its alarm
        try:
            while self.pipe.poll():
                yield Case(self.reader.name, *self.pipe.recv())
                self.next, self.since = self.next + 1, time.monotonic()
            return
        except (EOFError, OSError):  # amid a message, where it was killed
            self.child.join()
        if code := self.child.exitcode:
            ending = "hang" if code == -signal.SIGKILL else "died"
            yield Case(self.reader.name, self.next, "?", ending, f"case {self.next}: exit code {code}")
            self.next += 1
        if self.next < self.count:
            self.start()


def _work(lane: _Lane, pipe: Connection) -> None:
    """In the child."""
    secrets, inside = lane.folder / SECRETS, lane.folder / "cases"
    shutil.rmtree(lane.folder, ignore_errors=True)  # of the child before
    for path in (secrets, inside):
        path.mkdir(parents=True)
    os.chdir(inside)
    tempfile.tempdir = str(inside)
    sys.path.append(str(inside))  # as hierfit's command line does
    warnings.simplefilter("ignore")
    sys.stdout = sys.stderr = io.StringIO()
    attempt_of, mark = None, inside / MARK
    watch = _Watch(inside.resolve(), secrets.resolve())
    signal.signal(signal.SIGALRM, _late)
    sys.addaudithook(watch.hear)
    for number in range(lane.next, min(lane.count, lane.next + _AT_ONCE)):
        try:
            attempt_of = attempt_of or lane.reader.make(inside)
            mutation, read = attempt_of(random.Random(f"{lane.seed}/{lane.reader.name}/{number}"))
        except Exception:
            pipe.send((number, "?", "unmade", traceback.format_exc()))
            continue
        ending, detail = _ending(read, watch)
        if mutation == "none" and ending == "refused":
            ending = "wrong"
        if mark.exists():
            ending, detail = "code", "it left its mark"
            mark.unlink()
        pipe.send((number, mutation, ending, f"case {number}: {detail}"))
    os._exit(0)  # whatever threads were started


def _ending(read: Callable[[], object], watch: _Watch) -> tuple[str, str]:
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now
    held = _memory("VmSize") + 3 * MEBIBYTES
    resource.setrlimit(resource.RLIMIT_AS, (held << 20, resource.RLIM_INFINITY))  # what asks for all there is gets none
    watch.found, watch.on = "", True
    signal.alarm(SECONDS)
    try:
        read()
        ending, detail = "read", ""
    except UserError as error:
        ending, detail = "refused", str(error)
    except WrongError as error:
        ending, detail = "wrong", str(error)
    except _HangError:
        ending, detail = "hang", f"longer than {SECONDS} s"
    except BaseException as error:
        kind = "refused" if isinstance(error, SystemExit) and error.code == 2 else "traceback"
        ending, detail = kind, traceback.format_exc()
    finally:
        signal.alarm(0)
        watch.on = False
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if watch.found:
        return ("code" if watch.found.startswith(_PROGRAMS) else "escape"), watch.found
    if (peak := _memory("VmHWM") - before) > MEBIBYTES:
        return "memory", f"{peak} MiB"
    return ending, detail[-1500:]


class _Watch:
    """Hears what Python code opens, changes and starts."""

    def __init__(self, inside: Path, secrets: Path) -> None:
        self.inside, self.secrets = str(inside), str(secrets)
        self.on, self.found = False, ""

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "subprocess.Popen" and list(arguments[1][:3]) == [sys.executable, "-c", READER]:
            return  # hierfit's own, which reads a MATLAB file: bounded in time and memory, and hears no code from it
        if event in _PROGRAMS:
            self.found = self.found or f"{event}: {arguments!r:.200}"
        elif event in _CHANGES or event == "open":
            path = arguments[0]
            if not isinstance(path, (str, bytes, os.PathLike)):
                return
            self.on = False  # not of what follows
            with contextlib.suppress(ValueError, OSError):
                place = os.path.realpath(os.fsdecode(path))
                writes = event != "open" or bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
                away = os.path.commonpath([place, self.inside]) != self.inside and not place.startswith("/dev/")
                if (writes and away) or os.path.commonpath([place, self.secrets]) == self.secrets:
                    self.found = self.found or f"{event}: {place}"
            self.on = True


def _late(*_: object) -> None:
    raise _HangError


def _memory(name: str) -> int:
    """MiB of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) >> 10
    raise KeyError(name)


def report(done: Sequence[Case]) -> str:
    """A table: a line a reader."""
    width = max(len(case.reader) for case in done) + 2
    lines = [f"{'reader':<{width}}{'cases':>8}{'refused':>9}{'read':>8}  faults"]
    for name in [*dict.fromkeys(sorted(case.reader for case in done)), "all"]:
        endings = Counter(case.ending for case in done if name in (case.reader, "all"))
        faults = ", ".join(f"{endings[kind]} {kind}" for kind in FAULTS if endings[kind]) or "none"
        lines.append(f"{name:<{width}}{endings.total():>8}{endings['refused']:>9}{endings['read']:>8}  {faults}")
    return "\n".join(lines)


def main(readers: Sequence[Reader], about: str | None) -> None:
    """The command line of a fuzzer; ends with 1 where there was a fault."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300, help="of each reader; those that take long get fewer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="readers whose names hold this")
    parser.add_argument("--show", action="store_true", help="count what was done to the files, too")
    options = parser.parse_args()
    chosen = [reader for reader in readers if options.only in reader.name]
    started, done = time.monotonic(), list[Case]()
    for case in run(chosen, options.cases, options.seed, options.jobs):
        done.append(case)
        if len(done) % 1000 == 0:
            print(f"{len(done)} cases, {time.monotonic() - started:.0f} s", file=sys.stderr)
    if options.show:
        for (name, mutation, ending), count in sorted(Counter(case[:1] + case[2:4] for case in done).items()):
            print(f"{name:<22}{mutation:<40}{ending:<10}{count:>7}")
    print(f"{report(done)}\nseed {options.seed}, {time.monotonic() - started:.0f} s")
    bad = [case for case in done if case.ending in FAULTS]
    alike = {(case.reader, case.ending, case.detail.rstrip().rpartition("\n")[2][:60]): case for case in bad}
    for case in list(alike.values())[:60]:
        print(f"\n{case.reader}, {case.mutation}: {case.ending}\n{case.detail}")
    sys.exit(bool(bad))
