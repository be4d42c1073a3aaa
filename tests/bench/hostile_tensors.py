"""What a stranger could put where tensors are expected: safetensors, checkpoints, pickles; for the fuzzers."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hostile import DEEP, MARK, PATHS, VALUES, altered, bad_json, damaged

_DTYPES = ["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "U16", "U32", "U64", "BOOL", "F8_E4M3",
           "F8_E5M2", "C64", "F4", "X9", "", 7, None]  # fmt: skip
_SAME_WIDTH = {"F32": ["I32", "U32"], "I64": ["F64", "U64"], "F16": ["BF16", "I16"], "U8": ["BOOL", "I8", "F8_E5M2"]}
_NUMPY = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "I32": "<i4"}


def bad_safetensors(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Another header: lengths, types, shapes, offsets, names, metadata; or other values; or damage."""
    size = int.from_bytes(raw[:8], "little")
    header: dict[str, Any] = json.loads(raw[8 : 8 + size])
    body = bytearray(raw[8 + size :])
    names = [name for name in header if name != "__metadata__"]
    name, other = rng.choice(names), rng.choice(names)
    entry, length = header[name], None
    shape, (start, stop) = entry["shape"], entry["data_offsets"]
    kind = rng.choice(["header length", "dtype", "same width", "shape", "same size", "offsets", "overlap", "swapped",
                       "tensor lost", "tensor renamed", "tensor twice", "metadata", "metadata", "values", "values",
                       "header bomb", "damage"])  # fmt: skip
    match kind:
        case "header length":
            length = rng.choice([0, 1, 2, size - 1, size + 1, len(raw), 10**8, 10**9, 2**32, 2**63 - 1, 2**64 - 1])
        case "dtype":
            entry["dtype"] = rng.choice(_DTYPES)
        case "same width":
            entry["dtype"] = rng.choice(_SAME_WIDTH.get(entry["dtype"], [entry["dtype"]]))
        case "shape":
            entry["shape"] = rng.choice([[], [0], [-1], [2**63], [2**32, 2**32], [1.5], "a", None, [[1]]])
        case "same size":
            entry["shape"] = rng.choice([[int(np.prod(shape))], [1, *shape], shape[::-1], [*shape, 1]])
        case "offsets":
            entry["data_offsets"] = rng.choice([[stop, start], [-8, stop], [start, 2**62], [0, 0], [start], "a", None,
                                                [start + 1, stop + 1], [start, stop, stop], [2**64] * 2])  # fmt: skip
        case "overlap":
            entry["data_offsets"] = list(header[other]["data_offsets"])
        case "swapped":
            header[name], header[other] = header[other], header[name]
        case "tensor lost":
            del header[name], body[start:stop]
            for left in header.values():
                if "data_offsets" in left and left["data_offsets"][0] >= stop:
                    left["data_offsets"] = [at - (stop - start) for at in left["data_offsets"]]
        case "tensor renamed":
            new = rng.choice(["", "x", "train.features", "test.labels", "train0.features", ".features", *PATHS])
            header[new] = header.pop(name)
        case "tensor twice":
            header[f"{name}2"] = dict(entry)
        case "metadata":
            facts: Any = header.setdefault("__metadata__", {})
            if facts and rng.random() < 0.7:
                key = rng.choice(list(facts))
                try:
                    facts[key] = bad_json(facts[key].encode(), rng)[1].decode("utf-8", "replace")
                except ValueError:
                    facts[key] = str(rng.choice(VALUES))
            else:
                header["__metadata__"] = rng.choice([{"a": 1}, [], None, "a", {"a": "b" * 10**6}, {"a": None}, {}])
        case "values":
            wide = _NUMPY.get(entry["dtype"], "u1")
            values = np.frombuffer(bytes(body[start:stop]), wide).copy()
            odd = [0, 1, -1, 1e30, np.nan, np.inf, -np.inf] if "f" in wide else [0, -1, -2, 2**31, 2**62, -(2**62), 127]
            if len(values):
                few = slice(None) if rng.random() < 0.3 else rng.randrange(len(values))
                with np.errstate(all="ignore"):
                    values[few] = np.array([rng.choice(odd)]).astype(wide)[0]
                body[start:stop] = values.tobytes()
        case "damage":
            return damaged(raw, rng)
    text = json.dumps(header)
    if kind == "header bomb":
        text = rng.choice([DEEP, '{"a":' * 5000, "{}", "[]", "null", " " * 1000, '{"__metadata__":{}}'])
    return kind, struct.pack("<Q", len(text.encode()) if length is None else length) + text.encode() + bytes(body)


class Runs:
    """What, pickled, has its reader call a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


CALLS = [
    Runs(Path.touch, Path(MARK)), Runs(os.system, f"touch {MARK}"), Runs(eval, f"open({MARK!r}, 'w')"),
    Runs(exec, f"open({MARK!r}, 'w')"), Runs(torch.save, 1, MARK), Runs(np.save, MARK, 1), Runs(torch.load, MARK),
    Runs(getattr, torch.Tensor, "save"), Runs(bytearray, 1 << 33), Runs(torch.zeros, 1 << 33), Runs(np.zeros, 1 << 33),
    Runs(torch._utils._rebuild_tensor_v2, None, 0, (1 << 40,), (0,), False, {}),
    Runs(torch.hub.load, "owner/name", "x"),
]  # fmt: skip
"""Each would leave the mark, start a program, or fill the memory."""

_TENSORS: list[Callable[[], Any]] = [
    lambda: torch.zeros(0), lambda: torch.zeros(1), lambda: torch.zeros(3, 3), lambda: torch.full((4, 8), torch.nan),
    lambda: torch.zeros(4, 8, dtype=torch.complex64), lambda: torch.zeros(2, dtype=torch.bool),
    lambda: torch.zeros(4, 8).to_sparse(), lambda: torch.empty(4, 8, device="meta"), lambda: torch.tensor(-1),
    lambda: torch.zeros(1).expand(1 << 36), lambda: torch.zeros(1).expand(1 << 20, 1 << 20),
    lambda: torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8), lambda: torch.nn.Parameter(torch.zeros(4)),
    lambda: torch.tensor(2**62), lambda: torch.zeros(4, 8, dtype=torch.float16), lambda: torch.Size([1]),
    lambda: torch.half,
]  # fmt: skip

_TWO = b"\x80\x02"  # the protocol that torch writes
_LAUGHS = b"]q\x00(K\x01K\x01e" + b"".join(
    b"]q" + bytes([i + 1]) + b"(h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(60)
)
_TOUCH = f"touch {MARK}".encode()
PICKLES = [
    _TWO + b"cos\nsystem\nX" + struct.pack("<I", len(_TOUCH)) + _TOUCH + b"\x85R.",
    *(_TWO + b"c" + name + b"\nX\x01\x00\x00\x001\x85R." for name in (b"builtins\neval", b"torch\nos.system",
                                                                     b"torch.serialization\nload")),
    _TWO + b"(" * 3000 + b".", _TWO + b"]" * 100_000 + b".", _TWO + b"(" * 100_000 + b"l" * 100_000 + b".",
    _TWO + b"]" * 5000 + b"a" * 4999 + b".", _TWO + _LAUGHS + b".", _TWO + b"}X\x01\x00\x00\x00a" + _LAUGHS + b"s.",
    _TWO + b"X\xff\xff\xff\x7fa.", _TWO + b"r\xff\xff\xff\xff.", _TWO + b"h\xff.",
    _TWO + b"\x8a" + b"\xff" * 256 + b".",
    _TWO + b"ccollections\nOrderedDict\n)R}X\x04\x00\x00\x00keysK\x01sb.",
    _TWO + b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00(K\x02t(K\x01t\x89NtR.",
    _TWO + b"ctorch\nTensor\n)\x81}X\x09\x00\x00\x00__class__K\x01sb.",
    b"\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7f.", b".", b"",
]  # fmt: skip
"""Written by hand: they call functions, nest deeply, grow without end, or end too early."""


def bad_checkpoint(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A torch file with other content, a hostile pickle, another container, or damage."""
    sound, draw = torch.load(io.BytesIO(raw), weights_only=True), rng.random()
    values: list[Any] = [*VALUES, *(make() for make in _TENSORS)]
    if draw < 0.4:
        kind, content = altered(sound, rng, values)
        return f"content: {kind}", _stored(content)
    if draw < 0.55:
        return "calls a function", _stored(altered(sound, rng, list(CALLS))[1])
    raw = _stored(sound)
    if draw < 0.7:
        hostile = rng.choice(PICKLES)
        return "pickle", _rezipped(raw, lambda name, old: (name, hostile if name.endswith("data.pkl") else old))
    if draw < 0.85:
        return _bad_zip(raw, rng)
    if draw < 0.9:
        others = [pickle.dumps(rng.choice(CALLS), rng.randrange(5)), pickle.dumps(sound.get("epoch", 1)),
                  _stored(sound, _use_new_zipfile_serialization=False),
                  _stored(rng.choice(values[len(VALUES) :]))]  # fmt: skip
        return "another container", rng.choice(others)
    return damaged(raw, rng)


def bad_pickle(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A pickle that calls a function, one written by hand, or damage."""
    draw = rng.random()
    if draw < 0.4:
        return "calls a function", pickle.dumps(altered(pickle.loads(raw), rng, list(CALLS))[1], rng.randrange(5))
    return ("pickle", rng.choice(PICKLES)) if draw < 0.6 else damaged(raw, rng)


def _stored(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def _rezipped(
    raw: bytes, change: Callable[[str, bytes], tuple[str, bytes] | None], how: int = zipfile.ZIP_STORED
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(buffer, "w", how) as new:
        for name in old.namelist():
            if (changed := change(name, old.read(name))) is not None:
                new.writestr(*changed)
    return buffer.getvalue()


def _bad_zip(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    buffer = io.BytesIO(raw)
    with zipfile.ZipFile(buffer, "a") as file:
        chosen = rng.choice([name for name in file.namelist() if "/data/" in name] or [""])
        changes: dict[str, Callable[[str, bytes], tuple[str, bytes] | None]] = {
            "zip bomb": lambda n, old: (n, bytes(1 << 28) if n == chosen else old),
            "zip storage lost": lambda n, old: None if n == chosen else (n, old),
            "zip storage short": lambda n, old: (n, old[: len(old) // 2] if n == chosen else old),
            "zip path": lambda n, old: (f"../../{n}" if n == chosen else n, old),
        }
        kind = rng.choice([*changes, "zip member twice", "zip sizes"])
        if kind in changes:
            return kind, _rezipped(raw, changes[kind], zipfile.ZIP_DEFLATED if kind == "zip bomb" else 0)
        if kind == "zip member twice":
            file.writestr(f"{file.namelist()[0].partition('/')[0]}/data.pkl", b"\x80\x02K\x01.")
    data = bytearray(buffer.getvalue())
    if kind == "zip sizes":
        at = data.rfind(b"PK\x01\x02")  # in the central directory
        sizes = rng.choice([(0xFFFFFFFF, 0xFFFFFFFF), (0, 1 << 30), (1 << 30, 1 << 30)])
        data[at + 20 : at + 28] = struct.pack("<II", *sizes)
    return kind, bytes(data)
