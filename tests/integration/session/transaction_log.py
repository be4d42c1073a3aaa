"""Reads the file that W&B writes for a run: LevelDB's log format, each record a protobuf message."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_BLOCK, _HEADER, _WHOLE, _LAST = 32768, 7, 1, 4


def records(run: Path) -> Iterator[Any]:
    """Records of a run's folder, as far as they were written."""
    (path,) = run.glob("run-*.wandb")
    data, at, parts = path.read_bytes(), _HEADER, b""
    while at + _HEADER <= len(data):
        if (room := _BLOCK - at % _BLOCK) < _HEADER:
            at += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        at += _HEADER + length
        parts += data[at - length : at]
        if kind in (_WHOLE, _LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def history(run: Path) -> list[dict[str, Any]]:
    """What was logged, a row a step; W&B's own keys but ``_step`` are left out."""
    rows = [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records(run)
        if record.HasField("history")
    ]
    return [{k: v for k, v in row.items() if not k.startswith("_") or k == "_step"} for row in rows]


def summary(run: Path) -> dict[str, Any]:
    """What a run's page shows beside its name."""
    updates = (record.summary.update for record in records(run) if record.HasField("summary"))
    return {i.key or ".".join(i.nested_key): json.loads(i.value_json) for update in updates for i in update}


def ending(run: Path) -> tuple[int | None, bool]:
    """The exit code, None when the run was cut off; and whether it was marked as preempted."""
    found = list(records(run))
    codes = [record.exit.exit_code for record in found if record.HasField("exit")]
    return (codes[-1] if codes else None), any(record.HasField("preempting") for record in found)
