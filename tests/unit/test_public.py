"""``from hierfit import …``: every name is there, its examples are right, and none is loaded before it is asked for."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

import hierfit
from hierfit import HiSCE, LeafCrossEntropy, LevelCrossEntropy, Taxonomy, TreePathKL, UserError

PACKAGE = Path(hierfit.__file__).parent
WITH_EXAMPLES = [p for p in sorted(PACKAGE.rglob("*.py")) if ">>> " in p.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_examples_give_what_they_show(path: Path) -> None:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0


def test_every_name_is_there_and_known_to_type_checkers() -> None:
    for name in hierfit.__all__:
        assert getattr(hierfit, name) is not None
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {a.name for node in checked.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert imported == set(hierfit.__all__) == set(" ".join(hierfit._EXPORTED.values()).split())
    assert set(hierfit.__all__) <= set(dir(hierfit))
    with pytest.raises(AttributeError, match="TreeKL"):
        _ = hierfit.TreeKL


def test_names_load_no_more_than_they_need() -> None:
    code = (
        "import sys, hierfit; assert 'torch' not in sys.modules; "
        "from hierfit import ClassList, HiSCE, Taxonomy, best_path; "
        "print([m for m in ('lightning', 'torchmetrics', 'transformers', 'rich', 'scipy') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"


TREE = Taxonomy.from_paths([("cat", "lion"), ("cat", "lynx"), ("dog", "wolf")])


@pytest.mark.parametrize("kind", [HiSCE, LeafCrossEntropy, LevelCrossEntropy, TreePathKL])
def test_a_loss_takes_paths_of_its_own_tree_only(kind: type[HiSCE]) -> None:
    loss = kind(TREE)
    for logits, paths in [
        (torch.zeros(2, 3), torch.zeros(2, 2, dtype=torch.int64)),
        (torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 5), torch.zeros(2, 2)),
    ]:
        with pytest.raises(ValueError, match="ClassList"):
            loss(logits, paths)
    nothing = loss(torch.zeros(1, 5, requires_grad=True), torch.full((1, 2), -1))
    assert nothing == 0
    nothing.backward()


def test_options_are_checked_when_they_are_given() -> None:
    with pytest.raises(UserError, match="epsilon"):
        HiSCE(TREE, epsilon=1.5)
    with pytest.raises(UserError, match="over_levels"):
        LevelCrossEntropy(TREE, over_levels="max")  # type: ignore[arg-type]
