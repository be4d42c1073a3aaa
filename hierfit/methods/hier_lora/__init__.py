"""Hierarchy-aware LoRA (arXiv 2512.21529): LoRA in the towers under the losses of the tree; see README.md."""

from hierfit.methods.hier_lora.lightning import HierLoRA

__all__ = ["HierLoRA"]
