"""All fuzzers, one report: ``make fuzz ARGS="--cases 2000"``. See `fuzzing`."""

from __future__ import annotations

import bench_fuzz
import bench_fuzz_official
import bench_fuzz_safety
import bench_fuzz_taxonomy
from fuzzing import main

FUZZERS = (bench_fuzz_safety, bench_fuzz, bench_fuzz_official, bench_fuzz_taxonomy)

if __name__ == "__main__":
    main([reader for fuzzer in FUZZERS for reader in fuzzer.READERS], __doc__)
