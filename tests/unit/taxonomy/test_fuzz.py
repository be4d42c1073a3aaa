"""A short run of the fuzzer in tests/bench; and its oracles against trees they did not damage."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from hierfit.taxonomy.writers import WRITERS


@pytest.fixture(scope="module")
def fuzzer(bench: Callable[[str], ModuleType]) -> ModuleType:
    return bench("bench_fuzz_taxonomy")


def test_damaged_files_are_refused_or_read_as_they_stand(fuzzer: ModuleType, tmp_path: Path) -> None:
    ends, failures = fuzzer.fuzz(150, 7, tmp_path)
    assert failures == []
    assert ends["found out: accepted"] > 30
    assert ends["found out: refused"] + ends["found out: faults listed"] > 30


def test_the_oracles_know_their_formats(fuzzer: ModuleType) -> None:
    for seed in range(60):
        plan = fuzzer.forest(random.Random(seed))
        for form, (_, oracle) in fuzzer.ORACLES.items():
            assert fuzzer.expected(oracle, WRITERS[form](plan).encode()) == fuzzer.paths_of(plan), form
