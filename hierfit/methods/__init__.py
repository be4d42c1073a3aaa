"""Methods, a file or a folder each. Importing a method imports Lightning; this module alone does not."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hierfit.methods.base import Method as Method
    from hierfit.methods.clip_adapter import CLIPAdapter as CLIPAdapter
    from hierfit.methods.coop import CoOp as CoOp
    from hierfit.methods.hier_lora import HierLoRA as HierLoRA
    from hierfit.methods.kernel_ridge import KernelRidge as KernelRidge
    from hierfit.methods.lathadapter import LatHAdapter as LatHAdapter
    from hierfit.methods.linear_probe import LinearProbe as LinearProbe
    from hierfit.methods.task_res import TaskRes as TaskRes
    from hierfit.methods.tip_adapter import TipAdapter as TipAdapter
    from hierfit.methods.tip_adapter import TipAdapterF as TipAdapterF
    from hierfit.methods.tree_gda import TreeGDA as TreeGDA
    from hierfit.methods.zero_shot import ZeroShot as ZeroShot

_METHOD_HOMES = {
    "CLIPAdapter": "clip_adapter",
    "CoOp": "coop",
    "HierLoRA": "hier_lora",
    "KernelRidge": "kernel_ridge",
    "LatHAdapter": "lathadapter",
    "LinearProbe": "linear_probe",
    "Method": "base",
    "TaskRes": "task_res",
    "TipAdapter": "tip_adapter",
    "TipAdapterF": "tip_adapter",
    "TreeGDA": "tree_gda",
    "ZeroShot": "zero_shot",
}
__all__ = list(_METHOD_HOMES)


def __getattr__(name: str) -> Any:
    if name in _METHOD_HOMES:
        return getattr(import_module(f"{__name__}.{_METHOD_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
