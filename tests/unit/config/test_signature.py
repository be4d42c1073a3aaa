"""What the source says of a class's arguments is what the class itself says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pytest
from annotated_types import Gt, Le

from hierfit import methods
from hierfit.config.signature import OTHERS, Argument, _imported, arguments_of, attribute_of, class_at
from hierfit.errors import UserError

CLASSES = [
    "lightning.pytorch.Trainer",
    "hierfit.data.datamodule.HierarchicalDataModule",
    *(f"hierfit.methods.{name}" for name in methods.__all__ if name != "Method"),
]


@pytest.mark.parametrize("path", CLASSES)
def test_source_and_class_agree(path: str) -> None:
    read, imported = arguments_of(path), _imported(class_at(path))
    assert list(read) == list(imported)
    for name, argument in read.items():
        assert (argument.default, argument.help) == (imported[name].default, imported[name].help)
        if Any not in (get_args(argument.type) or (argument.type,)) and "list[typing.Any]" not in str(argument.type):
            assert argument.type == imported[name].type


def test_nothing_heavy_is_imported_for_it() -> None:
    read = f"from hierfit.config.signature import arguments_of; [arguments_of(path) for path in {CLASSES}]"
    code = f"import sys; {read}; print([*sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"'torch'", "'lightning'", "'numpy'"} & set(done.stdout.strip("[]\n").split(", "))


SOURCE = '''
from __future__ import annotations
import enum
from typing import Literal, Union
from annotated_types import Gt, Le
from other_names import Kind, Base as Parent

WIDTH = 3

class Mine(Parent):
    """A class.

    Args:
        kind: Which,
            and why.
        width: How wide.
    """
    needs = "pixels"

    def __init__(self, kind: Kind = "a", *, width: "int | None" = WIDTH, at: enum.Enum = None,
                 sizes: tuple[int, ...] = (1, 2),
                 share: Annotated[float, Gt(0), Le(1)] | None = None, **named):
        pass

class Heir(Mine):
    pass

class Computed:
    def __init__(self, x: float = 2 * 0.5):
        pass
'''
OTHER = """
from typing import Literal
Kind = Literal["a", "b"]
class Base:
    def __init__(self, depth: int, kind: str = "c"):
        pass
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two modules in a folder from which is imported."""
    (tmp_path / "my_names.py").write_text(SOURCE)
    (tmp_path / "other_names.py").write_text(OTHER)
    monkeypatch.syspath_prepend(tmp_path)
    arguments_of.cache_clear()


@pytest.mark.usefixtures("modules")
def test_aliases_constants_bases_and_texts() -> None:
    found = arguments_of("my_names.Heir")
    assert list(found) == [OTHERS, "depth", "kind", "width", "at", "sizes", "share"]
    assert found["kind"] == Argument(Literal["a", "b"], "a", "Which, and why.")
    assert found["width"] == Argument(int | None, 3, "How wide.")
    assert found["at"].type is Any
    assert found["sizes"].default == [1, 2]
    assert found["share"].type == Annotated[float, Gt(0), Le(1)] | None
    assert found["depth"].required
    assert attribute_of("my_names.Heir", "needs") == "pixels"
    assert "my_names" not in sys.modules
    assert arguments_of("my_names.Computed")["x"] == Argument(float, 1.0)  # which only Python can tell
    assert "my_names" in sys.modules


@pytest.mark.parametrize("path", ["my_names.Nothing", "nowhere.Mine", "os.path", "Mine"])
@pytest.mark.usefixtures("modules")
def test_what_is_no_class(path: str) -> None:
    with pytest.raises(UserError, match="no class"):
        arguments_of(path)


def test_a_module_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "failing_names.py").write_text("import json\nraise RuntimeError('not today')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="failing_names cannot be imported: RuntimeError: not today"):
        arguments_of("failing_names.Mine")
