"""All fuzzers, one report: ``make fuzz ARGS="--cases 2000"``. See `fuzzing`."""

from __future__ import annotations

import bench_fuzz
import bench_fuzz_safety
import bench_fuzz_taxonomy
from fuzzing import main

if __name__ == "__main__":
    main([*bench_fuzz_safety.READERS, *bench_fuzz.READERS, *bench_fuzz_taxonomy.READERS], __doc__)
