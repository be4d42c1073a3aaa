"""Data sets that come with pickles, and the reader of those: nothing in them can name a function to call."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Lt
from PIL import Image
from pydantic import Strict
from torch import Tensor

from hierfit.data.home import Home
from hierfit.data.records import checked
from hierfit.data.samples import Sample
from hierfit.errors import UserError


class Fields:
    """What an object of another package held: its attributes, and none of its code."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        """Called by the unpickler with the object's ``__dict__``."""
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("the state of an object is not a dictionary")
        self.values = state


def load_pickle(path: Path, objects: Mapping[str, str] | None = None) -> Any:
    """Read a pickle that holds numbers, texts, bytes, lists, dictionaries and numeric arrays only.

    Python's unpickler imports and calls whatever the file names. This one knows five names: numpy's array, its dtype,
    the function that begins an array, and the two that Python 3 writes bytes with. Each is answered by a function made
    for this one file, that checks what it is given; so a file can neither call anything else nor change anything that
    outlives its reading.

    Args:
        path: The file, of a protocol to 4. Text of Python 2 comes as bytes.
        objects: Classes, by module and name, whose objects come as `Fields`.

    Raises:
        UserError: The file is missing, damaged, or asks for anything else, which it names.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file, objects or {}).load()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except pickle.UnpicklingError as error:
        raise UserError(f"{path}: not read: {error}") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(f"{path}: damaged, or no pickle: {str(error) or type(error).__name__}") from error


class _Unpickler(pickle._Unpickler):  # Python's own: C's makes room for as many objects as a file claims to hold
    def __init__(self, file: Any, objects: Mapping[str, str]) -> None:
        super().__init__(file, encoding="bytes")
        array = object()  # numpy.ndarray itself could be called, with a shape that fills the memory

        def reconstruct(kind: object, shape: object, code: object) -> np.ndarray[Any, Any]:
            if kind is not array:
                raise pickle.UnpicklingError("an array of an unknown class")
            return np.empty(0, np.uint8)  # its state, which follows, gives shape and values

        def dtype(code: object, align: object = False, copy: object = True) -> np.dtype[Any]:
            text = code.decode("ascii") if isinstance(code, bytes) else code
            if not isinstance(text, str) or len(text) > 3 or text.lstrip("<>=|")[:1] not in (*"b?iuf",):
                raise pickle.UnpicklingError(f"an array of {text!r}, which is no kind of number")
            return np.dtype(text, False, True)  # a copy: the state that follows must not reach numpy's own

        def encode(text: object, encoding: object = "latin1") -> bytes:
            if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
                raise pickle.UnpicklingError("bytes written in an unknown way")
            return text.encode("latin1")

        def nothing() -> bytes:  # how protocols before 3 write no bytes
            return b""

        known: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): array,
            ("numpy", "dtype"): dtype,
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): reconstruct,
            ("_codecs", "encode"): encode,
            ("__builtin__", "bytes"): nothing,
        }
        # A class of its own for each file, so that what a file does to it dies with it.
        known |= {(module, name): type("Fields", (Fields,), {}) for module, name in objects.items()}
        self._known: Mapping[tuple[str, str], Callable[..., Any] | type] = known

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for."""
        found = self._known.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}; only numbers, texts, lists, dictionaries and numeric arrays are read"
            )
        return found


def cifar(home: Home, *, files: Mapping[str, str] = {"train": "train", "test": "test"}) -> Iterator[Sample]:
    """``train``, ``test`` and ``meta``, the version for Python; a sample's key is ``split/row``.

    Args:
        home: Where they lie. All pixels are read into memory.
        files: Pickle of each split.
    """
    place = home.holding(["meta", *files.values()])

    def content(file: str, key: bytes, kind: Any) -> Any:
        whole = checked(load_pickle(place / file), dict[Any, Any], str(place / file))
        return checked(whole.get(key), kind, f"{place / file}: {key.decode()!r}"), whole

    names, _ = content("meta", b"fine_label_names", list[bytes])
    number = Annotated[int, Strict(), Ge(0), Lt(len(names))]
    keys: list[str] = []
    pixels = []
    for split, file in files.items():
        labels, whole = content(file, b"fine_labels", list[number])
        data, shape = whole.get(b"data"), (len(labels), 3 * 32 * 32)
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != shape:
            raise UserError(f"{place / file}: 'data' is no array of {shape[0]} x {shape[1]} bytes")
        pixels.append(torch.from_numpy(np.ascontiguousarray(data)).view(-1, 3, 32, 32).permute(0, 2, 3, 1).contiguous())
        for row, label in enumerate(labels):
            keys.append(f"{split}/{row}")
            yield Sample(split, keys[-1], names[label].decode(errors="replace"))
    home.images = Pixels(torch.cat(pixels), keys)


class Pixels:
    """The pictures of one array in memory.

    Args:
        pixels: ``[n, H, W, 3]`` uint8. A tensor, so that workers that are spawned share its memory.
    """

    def __init__(self, pixels: Tensor, keys: Sequence[str]) -> None:
        self.pixels = pixels
        self._row = {key: row for row, key in enumerate(keys)}

    def load(self, key: str) -> Image.Image:
        """The picture in RGB."""
        return Image.fromarray(self.pixels[self._row[key]].numpy())

    def stamp(self, key: str) -> str:
        """Hash of the pixels: features are found again wherever the array came from."""
        pixels = self.pixels[self._row[key]].numpy()
        return f"{pixels.shape} {hashlib.sha256(pixels.tobytes()).hexdigest()}"
