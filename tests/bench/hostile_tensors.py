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
from hostile import DEEP, PATHS, VALUES, altered, bad_json, damaged

Change = Callable[[str, bytes], "tuple[str, bytes] | None"]

_DTYPES = ["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "U16", "U32", "U64", "BOOL", "F8_E4M3",
           "F8_E5M2", "C64", "F4", "X9", "", 7, None]  # fmt: skip
_SAME_WIDTH = {"F32": ["I32", "U32"], "I64": ["F64", "U64"], "F16": ["BF16", "I16"], "U8": ["BOOL", "I8", "F8_E5M2"]}


def bad_safetensors(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Another header: lengths, types, shapes, offsets, names, metadata; or other values; or damage."""
    size = int.from_bytes(raw[:8], "little")
    header: dict[str, Any] = json.loads(raw[8 : 8 + size])
    body = bytearray(raw[8 + size :])
    names = [name for name in header if name != "__metadata__"]
    name = rng.choice(names)
    entry, length = header[name], None
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
            entry["shape"] = rng.choice([[], [0], [-1], [2**63], [2**32, 2**32], [1.5], "a", None, [[1]],
                                         entry["shape"][::-1], [*entry["shape"], 1], [1, *entry["shape"]]])  # fmt: skip
        case "same size":
            entry["shape"] = rng.choice([[int(np.prod(entry["shape"]))], [1, *entry["shape"]], entry["shape"][::-1],
                                         [*entry["shape"], 1]])  # fmt: skip
        case "offsets":
            start, stop = entry["data_offsets"]
            entry["data_offsets"] = rng.choice([[stop, start], [-8, stop], [start, 2**62], [0, 0], [start + 1,
                                                stop + 1], [start], "a", None, [start, stop, stop], [2**64,
                                                2**64]])  # fmt: skip
        case "overlap":
            entry["data_offsets"] = list(header[rng.choice(names)]["data_offsets"])
        case "swapped":
            other = rng.choice(names)
            header[name], header[other] = header[other], header[name]
        case "tensor lost":
            start, stop = header.pop(name)["data_offsets"]
            del body[start:stop]
            for left in header.values():
                if "data_offsets" in left and left["data_offsets"][0] >= stop:
                    left["data_offsets"] = [at - (stop - start) for at in left["data_offsets"]]
        case "tensor renamed":
            header[rng.choice(["", "x", "train.features", "test.labels", "train0.features", ".features", *PATHS])] = (
                header.pop(name)
            )
        case "tensor twice":
            header[f"{name}2"] = dict(entry)
        case "metadata":
            told: Any = header.setdefault("__metadata__", {})
            if told and rng.random() < 0.7:
                key = rng.choice(list(told))
                try:
                    told[key] = bad_json(told[key], rng)[1].decode("utf-8", "replace")
                except ValueError:
                    told[key] = str(rng.choice(VALUES))
            else:
                header["__metadata__"] = rng.choice([{"a": 1}, [], None, "a", {"a": "b" * 10**6}, {"a": None}, {}])
        case "values":
            start, stop = entry["data_offsets"]
            wide = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "I32": "<i4"}.get(entry["dtype"], "u1")
            values = np.frombuffer(bytes(body[start:stop]), wide).copy()
            odd = [0, 1, -1, 1e30, np.nan, np.inf, -np.inf] if "f" in wide else [0, -1, -2, 2**31, 2**62, -(2**62), 127]
            if len(values):
                chosen = rng.choice(odd)
                with np.errstate(all="ignore"):
                    few = slice(None) if rng.random() < 0.3 else rng.randrange(len(values))
                    values[few] = np.array([chosen]).astype(wide)[0]
                body[start:stop] = values.tobytes()
        case "header bomb":
            text = rng.choice([DEEP, '{"a":' * 5000, "{}", "[]", "null", " " * 1000, '{"__metadata__":{}}'])
            return kind, struct.pack("<Q", len(text)) + text.encode() + bytes(body)
        case "damage":
            how, whole = damaged(raw, rng)
            return how, whole
    text = json.dumps(header)
    told_size = len(text.encode()) if length is None else length
    return kind, struct.pack("<Q", told_size) + text.encode() + bytes(body)


# ---------------------------------------------------------------------- torch checkpoints


class Runs:
    """What, pickled, has its reader call a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def calls(mark: Path) -> list[Runs]:
    """Each would leave the mark, start a program, or fill the memory."""
    return [
        Runs(Path.touch, mark),
        Runs(os.system, f"touch {mark}"),
        Runs(eval, f"open({str(mark)!r}, 'w')"),
        Runs(exec, f"open({str(mark)!r}, 'w')"),
        Runs(torch.save, 1, str(mark)),
        Runs(np.save, str(mark), 1),
        Runs(torch.load, str(mark)),
        Runs(getattr, torch.Tensor, "save"),
        Runs(bytearray, 1 << 33),
        Runs(torch.zeros, 1 << 33),
        Runs(np.zeros, 1 << 33),
        Runs(torch._utils._rebuild_tensor_v2, None, 0, (1 << 40,), (0,), False, {}),
        Runs(torch.hub.load, "owner/name", "x"),
    ]


_TENSORS: list[Callable[[], Any]] = [
    lambda: torch.zeros(0), lambda: torch.zeros(1), lambda: torch.zeros(3, 3), lambda: torch.full((4, 8), torch.nan),
    lambda: torch.zeros(4, 8, dtype=torch.complex64), lambda: torch.zeros(2, dtype=torch.bool),
    lambda: torch.zeros(4, 8).to_sparse(), lambda: torch.empty(4, 8, device="meta"), lambda: torch.tensor(-1),
    lambda: torch.zeros(1).expand(1 << 36), lambda: torch.zeros(1).expand(1 << 20, 1 << 20),
    lambda: torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8), lambda: torch.nn.Parameter(torch.zeros(4)),
    lambda: torch.tensor(2**62), lambda: torch.zeros(4, 8, dtype=torch.float16), lambda: torch.Size([1]),
                                                                                                     lambda: torch.half,
                                                                                                     ]  # fmt: skip


def bad_checkpoint(sound: dict[str, Any], mark: Path, rng: random.Random) -> tuple[str, bytes]:
    """A torch file with other content, a hostile pickle, another container, or damage."""
    draw = rng.random()
    values: list[Any] = [*VALUES, *(make() for make in _TENSORS)]
    if draw < 0.4:
        kind, content = altered(sound, rng, values)
        return f"content: {kind}", _stored(content)
    if draw < 0.55:
        _, content = altered(sound, rng, list(calls(mark)))
        return "calls a function", _stored(content)
    raw = _stored(sound)
    if draw < 0.7:
        return "pickle", _with_pickle(raw, bad_pickle(mark, rng))
    if draw < 0.85:
        return _zip(raw, rng)
    if draw < 0.9:
        other = rng.choice(
            [
                pickle.dumps(rng.choice(calls(mark)), rng.randrange(5)),
                pickle.dumps(sound.get("epoch", 1)),
                _stored(sound, _use_new_zipfile_serialization=False),
                _stored(rng.choice(values[len(VALUES) :])),
            ]
        )
        return "another container", other
    return damaged(raw, rng)


def _stored(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def bad_pickle(mark: Path, rng: random.Random) -> bytes:
    laughs = b"\x80\x02]q\x00(K\x01K\x01e" + b"".join(
        b"]" + b"q" + bytes([i + 1]) + b"(h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(60)
    )
    name = str(mark).encode()
    return rng.choice(
        [
            b"\x80\x02cos\nsystem\nX" + struct.pack("<I", len(name) + 6) + b"touch " + name + b"\x85R.",
            b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
            b"\x80\x02ctorch\nos.system\nX\x01\x00\x00\x00a\x85R.",
            b"\x80\x02ctorch.serialization\nload\nX\x01\x00\x00\x00a\x85R.",
            b"\x80\x02(" * 3000 + b".",
            b"\x80\x02" + b"]" * 100_000 + b".",
            b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b".",
            b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
            laughs + b".",
            b"\x80\x02}X\x01\x00\x00\x00a" + laughs[2:] + b"s.",
            b"\x80\x02X\xff\xff\xff\x7fa.",
            b"\x80\x02r\xff\xff\xff\xff.",
            b"\x80\x02h\xff.",
            b"\x80\x02\x8a\xff" + b"\xff" * 255 + b".",
            b"\x80\x02ccollections\nOrderedDict\n)R}X\x04\x00\x00\x00keysK\x01sb.",
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00(K\x02t(K\x01t\x89NtR.",
            b"\x80\x02ctorch\nTensor\n)\x81}X\x09\x00\x00\x00__class__K\x01sb.",
            b"\x80\x05\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
            b".",
            b"",
        ]
    )


def _with_pickle(raw: bytes, content: bytes) -> bytes:
    return _rezipped(raw, lambda name, old: (name, content if name.endswith("data.pkl") else old))


def _rezipped(
    raw: bytes, change: Callable[[str, bytes], tuple[str, bytes] | None], how: int = zipfile.ZIP_STORED
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(buffer, "w", how) as new:
        for name in old.namelist():
            if (changed := change(name, old.read(name))) is not None:
                new.writestr(*changed)
    return buffer.getvalue()


def _zip(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        storages = [name for name in file.namelist() if "/data/" in name]
    chosen = rng.choice(storages) if storages else ""
    kind = rng.choice(
        ["zip bomb", "zip storage lost", "zip storage short", "zip path", "zip member twice", "zip sizes"]
    )
    match kind:
        case "zip bomb":
            zeros = bytes(1 << 28)
            return kind, _rezipped(raw, lambda n, old: (n, zeros if n == chosen else old), zipfile.ZIP_DEFLATED)
        case "zip storage lost":
            return kind, _rezipped(raw, lambda n, old: None if n == chosen else (n, old))
        case "zip storage short":
            return kind, _rezipped(raw, lambda n, old: (n, old[: len(old) // 2] if n == chosen else old))
        case "zip path":
            return kind, _rezipped(raw, lambda n, old: (f"../../{n}" if n == chosen else n, old))
        case "zip member twice":
            buffer = io.BytesIO(raw)
            with zipfile.ZipFile(buffer, "a") as file:
                file.writestr(f"{file.namelist()[0].partition('/')[0]}/data.pkl", b"\x80\x02K\x01.")
            return kind, buffer.getvalue()
    data = bytearray(raw)  # a size in the central directory
    at = data.rfind(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack(
        "<II", *rng.choice([(0xFFFFFFFF, 0xFFFFFFFF), (0, 1 << 30), (1 << 30, 1 << 30)])
    )
    return kind, bytes(data)
