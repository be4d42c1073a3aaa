"""Pictures a second and core of the drawn butterflies: ``python tests/bench/bench_fieldguide.py``."""

from __future__ import annotations

import time

from harness import Claim, report, spread

from hierfit.fieldguide import Fieldguide


def pictures_per_second(size: int, seconds: float = 3.0) -> float:
    """Draws for a while and counts; processor time, so a busy machine does not count."""
    guide = Fieldguide(image_size=size)
    guide.draw(0, "test", 0)
    start, drawn = time.process_time(), 0
    while (spent := time.process_time() - start) < seconds:
        guide.draw(drawn % len(guide.leaves), "train", drawn // len(guide.leaves))
        drawn += 1
    return drawn / spent


if __name__ == "__main__":
    rates = {size: pictures_per_second(size) for size in (64, 128, 224)}
    report([Claim(f"  drawn, {size} px", spread([rate]), unit="pictures/s and core") for size, rate in rates.items()])
