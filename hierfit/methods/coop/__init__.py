"""CoOp: learned context vectors before each node's name; see README.md."""

from __future__ import annotations

from hierfit.methods.coop.lightning import CoOp

__all__ = ["CoOp"]
