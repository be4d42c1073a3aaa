"""Using what was trained, with torch, transformers, safetensors, Pillow and NumPy alone.

A method ends as a `head.Head`: node features and what little stands before them. A run keeps it in ``predictor/`` with
its tree and its calibration; `predictor.Predictor` joins it with the towers. ``hierfit predict`` and ``hierfit export``
are the command line over it.
"""

from hierfit.predict.predictor import Predictor, load

__all__ = ["Predictor", "load"]
