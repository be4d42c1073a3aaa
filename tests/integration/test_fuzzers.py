"""A short run of all fuzzers of tests/bench: hostile and damaged files are read as they stand, or refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import fuzzing


@pytest.mark.parametrize(
    ("name", "cases"),
    [("bench_fuzz_safety", 10), ("bench_fuzz", 60), ("bench_fuzz_taxonomy", 100)],
)
def test_nothing_but_reading_and_refusing(name: str, cases: int, bench: Callable[[str], ModuleType]) -> None:
    done = list(fuzzing.run(bench(name).READERS, cases, seed=1))
    assert [case for case in done if case.ending in fuzzing.FAULTS] == []
    assert {case.ending for case in done} == {"read", "refused"}


def test_every_fault_is_seen(tmp_path: Path) -> None:
    """The harness itself, on readers that do what none may."""

    def runs(what: str) -> Callable[[Path], fuzzing.Attempts]:
        def make(folder: Path) -> fuzzing.Attempts:
            return lambda rng: (what, lambda: eval(what, {"folder": folder, "fuzzing": fuzzing}))

        return make

    faults = {
        "traceback": "1 / 0",
        "wrong": "(_ for _ in ()).throw(fuzzing.WrongError())",
        "memory": "len(bytearray(fuzzing.MEBIBYTES * 3 << 19))",
        "died": "__import__('os')._exit(3)",
        "escape": "(folder.parent / 'x').write_text('')",
        "code": "__import__('subprocess').run(['true'])",
        "refused": "(_ for _ in ()).throw(fuzzing.UserError('no'))",
        "read": "1",
    }
    readers = [fuzzing.Reader(name, runs(what)) for name, what in faults.items()]
    done = fuzzing.run(readers, cases=2, seed=0, jobs=2)
    assert sorted((case.reader, case.ending) for case in done) == sorted((name, name) for name in faults for _ in "12")
