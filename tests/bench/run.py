"""Every bench, one after the other, and one table of what they claim: ``make bench ARGS="--only step"``.

Each ``bench_*.py`` is a program of its own. Those that claim something are run, others (long proofs, such as fuzzing)
where ``--only`` names them. What is claimed, and what it was taken on, is kept as JSON under
``runs/bench``; the table at the end is Markdown for a README.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch
from harness import OUT, Claim, machine, markdown

HERE = Path(__file__).parent
# Cells a minute need many processes and minutes; here a look, in bench_grid.py itself the measurement.
_SHORTER = {"bench_grid.py": ["--cells=16", "--alone=2", "--rounds=1"]}
_ONLY_BY_NAME = ("bench_taxonomy.py",)


def run(script: Path) -> tuple[list[Claim], int]:
    """One bench: what it claims, and its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "claims.json"
        # One thread: processor time then counts this process alone, whatever else the machine does.
        environment = {**os.environ, OUT: str(out), "OMP_NUM_THREADS": "1"}
        line = [sys.executable, str(script), *_SHORTER.get(script.name, [])]
        status = subprocess.run(line, env=environment).returncode
        return [Claim(**claim) for claim in json.loads(out.read_text())] if out.is_file() else [], status


def main() -> int:
    """Runs, keeps and prints; 1 when a claim does not hold or a bench fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="NAME", help="benches with this in their name; repeatable")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where results are kept, under bench (runs)")
    options = parser.parse_args()
    scripts = sorted(HERE.glob("bench_*.py"))
    if options.only:
        chosen = [script for script in scripts if any(word in script.stem for word in options.only)]
    else:
        left_out = _ONLY_BY_NAME if torch.cuda.is_available() else (*_ONLY_BY_NAME, "bench_gpu.py")
        claiming = [script for script in scripts if "from harness import" in script.read_text(encoding="utf-8")]
        chosen = [script for script in claiming if script.name not in left_out]
    if not chosen:
        print(f"No bench is named like that. There are {', '.join(script.stem[6:] for script in scripts)}.")
        return 2
    facts, claims, failed = machine(), list[Claim](), list[str]()
    started = time.monotonic()
    for script in chosen:
        print(f"== {script.stem[6:]} · {time.monotonic() - started:.0f} s", flush=True)
        found, status = run(script)
        claims += found
        failed += [script.stem] if status else []
    path = options.runs / "bench" / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": facts, "claims": [asdict(claim) for claim in claims]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{markdown([claim for claim in claims if claim.target is not None], facts)}\n")
    print(f"Taken in {(time.monotonic() - started) / 60:.1f} min; all figures: {path}")
    if failed:
        print(f"Not all holds in {', '.join(failed)}.")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
