"""Model files: a JSON description of the layers and raw tensors; nothing in them is ever executed.

A model is a folder (`save_model`, `load_model`) for people and archives, or one file (`model_bytes`,
`model_from_bytes`, `open_model`) for shipping. Both hold the same two things: the config of the layers, built with a
literal table of classes, and all parameters, buffers and tables by path in the safetensors format.
"""

from __future__ import annotations

from nnframes.io.model_file import load_model, model_bytes, model_from_bytes, open_model, save_model

__all__ = ["load_model", "model_bytes", "model_from_bytes", "open_model", "save_model"]
