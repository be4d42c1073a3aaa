"""What a stranger could put into a text: damage that knows JSON, YAML and tables, for the fuzzers.

Each `Damage` takes a sound file's bytes and a generator, and gives what was done and the other bytes. Whatever of it
is run as code leaves `MARK`, beside the folder that cases run in.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

Damage = Callable[[bytes, random.Random], tuple[str, bytes]]

MARK = "../MARK"
DEEP = "[" * 5000
LETTERS = [*"aZ09 ,;:'\"\t()[]{}-#|/\\\n\r\0é鷗&*!%@`?", "\u200b", "\ufeff", "\u2028", "\x85", "NaN", "1e999", "../",
           "~", "<<: ", "null", "9" * 20]  # fmt: skip
PATHS = [*("../" * up + "secrets/secret.png" for up in (1, 2, 3)), "../../x", "/etc/passwd", "/dev/zero",
         "/proc/self/mem", "a\0b", "x" * 5000, "..", ".", "", "~/x", "//x", "a/../../x", "%2e%2e/x", "C:\\x", "\udcff",
         "\u202egnp", "-rf", f"$(touch {MARK})", "|touch x", "https://localhost:1/x", "owner/name"]  # fmt: skip
VALUES: list[Any] = [None, True, -1, 0, 1, 1.5, -0.0, 2**31, 2**63, 2**64, 10**400, 1e308, float("nan"), float("inf"),
                     "", "a", "1", [], {}, [[]], [None], {"a": 1}, {"": {}}, [1, "a", None], ["a"] * 3,
                     *PATHS]  # fmt: skip


def damaged(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Some bytes or lines changed, lost, doubled, swapped or cut off; or a text in another encoding."""
    data, lines = bytearray(raw), raw.split(b"\n")
    at, line, other = rng.randrange(len(data) + 1), rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.choice(["byte changed", "bytes changed", "cut off", "part lost", "part twice", "bytes put in", "emptied",
                       "letter put in", "case", "line twice", "line lost", "lines swapped", "tab", "line ends",
                       "utf-8-sig", "utf-16", "utf-32", "latin-1"])  # fmt: skip
    match kind:
        case "byte changed" if at < len(data):
            data[at] ^= rng.randrange(1, 256)
        case "bytes changed" if data:
            for _ in range(rng.randint(2, 30)):
                data[rng.randrange(len(data))] = rng.choice([0, 255, rng.randrange(256)])
        case "cut off":
            del data[at:]
        case "part lost":
            del data[at : at + rng.choice([1, 4, rng.randint(1, 64)])]
        case "part twice":
            data[at:at] = data[max(0, at - rng.randint(1, 100)) : at]
        case "bytes put in":
            data[at:at] = rng.randbytes(rng.randint(1, 20))
        case "letter put in":
            data[at:at] = rng.choice(LETTERS).encode()
        case "emptied":
            data[:] = rng.choice([b"", bytes(len(raw)), b"PK\x03\x04", b"\x80\x02.", b"\x1f\x8b\x08", b"{}", b"\xff"])
        case "case":
            data[at : at + 1] = data[at : at + 1].swapcase()
        case "line ends":
            data = data.replace(b"\n", rng.choice([b"\r\n", b"\r"]))
        case "utf-8-sig" | "utf-16" | "utf-32" | "latin-1":
            data[:] = raw.decode("utf-8", "replace").encode(kind, "replace")
        case _:
            match kind:
                case "line twice":
                    lines.insert(other, lines[line])
                case "line lost":
                    del lines[line]
                case "tab":
                    lines[line] = b"\t" + lines[line]
                case "lines swapped":
                    lines[line], lines[other] = lines[other], lines[line]
            data[:] = b"\n".join(lines)
    return kind, bytes(data)


def altered(value: Any, rng: random.Random, values: list[Any] = VALUES) -> tuple[str, Any]:
    """One place of a nest of lists and dictionaries with another value, lost, doubled or renamed."""
    value = copy.deepcopy(value)

    def walk(at: Any) -> list[tuple[Any, Any]]:
        if not isinstance(at, (dict, list)):
            return []
        here = [(at, key) for key in (list(at) if isinstance(at, dict) else range(len(at)))]
        return [place for at, key in here for place in ((at, key), *walk(at[key]))]

    if not (places := walk(value)):
        return "replaced", rng.choice(values)
    at, key = rng.choice(places)
    kind = rng.choice(["value", "value", "value", "value", "lost", "key", "doubled", "nested"])
    if kind == "value":
        at[key] = rng.choice(values)
    elif kind == "lost":
        del at[key]
    elif kind == "key" and isinstance(at, dict):
        at[rng.choice([f"{key} ", "", "x", "__class__", *PATHS])] = at.pop(key)
    elif kind == "nested":
        at[key] = [at[key]]
    elif isinstance(at, list):
        at.insert(key, copy.deepcopy(at[key]))
    else:
        at["x"] = copy.deepcopy(at[key])
    return kind, value


def dumped(value: object, **options: Any) -> bytes:
    """As JSON, whatever letters it holds."""
    return json.dumps(value, **options).encode("utf-8", "surrogateescape")


def bad_json(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """JSON with another structure, or damaged, or meant to exhaust its reader."""
    draw = rng.random()
    if draw < 0.75:
        kind, value = altered(json.loads(raw), rng)
        return f"JSON {kind}", dumped(value)
    if draw < 0.85:
        bombs = [DEEP, '{"a":' * 5000, "1" * 5000, "NaN", '{"a":1,' * 3, "\ufeff{}", "[]", "null", '"\\ud800"']
        return "JSON bomb", rng.choice(bombs).encode()
    return damaged(raw, rng)


LAUGHS = "a: &b0 [x, x]\n" + "".join(f"c{i}: &b{i + 1} [*b{i}, *b{i}]\n" for i in range(40))
YAML_BOMBS = [LAUGHS, f"{LAUGHS}name: *b40\n", DEEP, "{a: " * 3000, "&a [*a]", "a: &a\n  b: *a\n", "? " * 2000,
              "- " * 3000 + "x", "a" * 200_000, "\0", "%YAML 9.9\n---\na: 1", "--- a\n--- b", "1" * 5000,
              "!!binary x", "2024-13-45", "!!timestamp x"]  # fmt: skip
YAML_VALUES = [".nan", "0x10", "!!binary aGk=", "!!set {a, b}", "*nothing", "!foo bar", '"\\ud800"', '"\\0"', "1:30",
               "yes", "0o17", "? a", "2024-01-01", "{a: b}", "9" * 4500]  # fmt: skip
YAML_TAGS = [f"!!python/object/apply:os.system ['touch {MARK}']", f"!!python/object/new:os.system ['touch {MARK}']",
             f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{MARK}']]",
             f"!!python/object/apply:eval [\"open('{MARK}', 'w')\"]", "!!python/name:os.system", "!!python/module:os",
             f"${{oc.decode:{MARK}}}"]  # fmt: skip
"""They would run code, were they obeyed."""


def bad_yaml(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """YAML with a tag, a bomb, an odd value or damage."""
    draw, lines = rng.random(), raw.decode().split("\n")
    if draw < 0.25:
        return "YAML bomb", (rng.choice([b"", raw]) + rng.choice(YAML_BOMBS).encode())
    if draw < 0.8:
        kind = "tag" if draw < 0.5 else "value"
        odd = rng.choice(YAML_VALUES) if rng.random() < 0.3 else json.dumps(rng.choice(VALUES))
        at = rng.choice([i for i, line in enumerate(lines) if ":" in line])
        lines[at] = f"{lines[at].partition(':')[0]}: {rng.choice(YAML_TAGS) if kind == 'tag' else odd}"
        return f"YAML {kind}", "\n".join(lines).encode()
    return damaged(raw, rng)


def bad_json_lines(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """JSON lines, one of which is another object; or damage."""
    lines, draw = raw.split(b"\n"), rng.random()
    at = rng.randrange(len(lines) - 1)
    if draw < 0.5:
        kind, value = altered(json.loads(lines[at]), rng)
        lines[at] = dumped(value, ensure_ascii=rng.random() < 0.5)
        return f"row: {kind}", b"\n".join(lines)
    if draw < 0.6:
        lines.insert(at, rng.choice([DEEP.encode(), b"a" * 200_000, b"\0", raw * 3]))
        return "odd row", b"\n".join(lines)
    return damaged(raw, rng)


def bad_table(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A CSV with a hostile path or cell, or damage."""
    lines, draw = raw.decode().split("\n"), rng.random()
    at = rng.randrange(1, len(lines) - 1)
    if draw < 0.6:
        cells = lines[at].split(",")
        column = 0 if draw < 0.45 else rng.randrange(len(cells))
        cells[column] = rng.choice([*PATHS, "out.png", '"a\nb"', "a" * 200_000, "./0.png", "x//y"])
        lines[at] = ",".join(cells)
    elif draw < 0.7:
        lines.insert(at, rng.choice(['"' + "a\n" * 1000, "," * 100_000, "\0", "a," * 5000, '"', "\r"]))
    else:
        return damaged(raw, rng)
    kind = "hostile path" if draw < 0.45 else "odd cell or row"
    return kind, "\n".join(lines).encode("utf-8", "surrogateescape")
