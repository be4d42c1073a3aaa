"""Methods, a file or a folder each. Importing a method imports Lightning; this module alone does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hierfit.lazy import on_first_use

if TYPE_CHECKING:
    from hierfit.methods.base import Method
    from hierfit.methods.clip_adapter import CLIPAdapter
    from hierfit.methods.coop import CoOp
    from hierfit.methods.hier_lora import HierLoRA
    from hierfit.methods.kernel_ridge import KernelRidge
    from hierfit.methods.lathadapter import LatHAdapter
    from hierfit.methods.linear_probe import LinearProbe
    from hierfit.methods.task_res import TaskRes
    from hierfit.methods.tip_adapter import TipAdapter, TipAdapterF
    from hierfit.methods.tree_gda import TreeGDA
    from hierfit.methods.zero_shot import ZeroShot

__all__ = [
    "CLIPAdapter", "CoOp", "HierLoRA", "KernelRidge", "LatHAdapter", "LinearProbe", "Method", "TaskRes", "TipAdapter",
    "TipAdapterF", "TreeGDA", "ZeroShot",
]  # fmt: skip

__getattr__ = on_first_use(
    __name__,
    {
        "base": "Method",
        "clip_adapter": "CLIPAdapter",
        "coop": "CoOp",
        "hier_lora": "HierLoRA",
        "kernel_ridge": "KernelRidge",
        "lathadapter": "LatHAdapter",
        "linear_probe": "LinearProbe",
        "task_res": "TaskRes",
        "tip_adapter": "TipAdapter TipAdapterF",
        "tree_gda": "TreeGDA",
        "zero_shot": "ZeroShot",
    },
)
