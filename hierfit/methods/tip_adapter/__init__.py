"""Tip-Adapter and Tip-Adapter-F: a cache of the training images beside zero-shot; see README.md."""

from __future__ import annotations

from hierfit.methods.tip_adapter.lightning import TipAdapter, TipAdapterF

__all__ = ["TipAdapter", "TipAdapterF"]
