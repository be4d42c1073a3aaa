"""The oracles of the fuzzer in tests/bench, against trees they did not damage."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import ModuleType

import pytest

from hierfit.taxonomy.writers import WRITERS


@pytest.fixture(scope="module")
def fuzzer(bench: Callable[[str], ModuleType]) -> ModuleType:
    return bench("bench_fuzz_taxonomy")


def test_the_oracles_know_their_formats(fuzzer: ModuleType) -> None:
    for seed in range(60):
        plan = fuzzer.forest(random.Random(seed))
        for form, (_, oracle) in fuzzer.ORACLES.items():
            assert fuzzer.expected(oracle, WRITERS[form](plan).encode()) == fuzzer.paths_of(plan), form
