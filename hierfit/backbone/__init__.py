"""CLIP and SigLIP behind one small interface; of transformers only tokenizers are used, from `Backbone.load` on."""

from hierfit.backbone.model import Backbone
from hierfit.backbone.node_encoder import encode_nodes, encode_texts
from hierfit.backbone.prompts import DEFAULT_TEMPLATE, node_prompts, node_texts
from hierfit.backbone.transform import ImageTransform

__all__ = [
    "DEFAULT_TEMPLATE",
    "Backbone",
    "ImageTransform",
    "encode_nodes",
    "encode_texts",
    "node_prompts",
    "node_texts",
]
