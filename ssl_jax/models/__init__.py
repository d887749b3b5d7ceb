"""Encoders by file name: `models/<name>.py` offers `build(model, *, norm, dtype)`, the network that `model` describes.

An encoder is called `(x, *, train=False, group_ids=None, keys=None, layer=None)` and returns pooled features `[b, F]`,
float32 or wider, or the map of an inner layer; `layers` names those. The other files of this folder are layers that
encoders are made of.
"""

import difflib
import importlib
from pathlib import Path


def names() -> list[str]:
    """The encoders there are: the files of this folder that have a function `build`."""
    files = [path for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"]
    return sorted(path.stem for path in files if "\ndef build(" in path.read_text())


def build(model, *, norm, dtype):
    """The encoder that `model.name` names.

    Args:
      model: a part of a config, with the keys that the encoder reads.
      norm: makes its norms, called as `BatchNorm` is.
      dtype: of the computation.

    Raises:
      ValueError: there is no such encoder, or a key that it needs is missing.
    """
    if model.name not in names():
        nearest = difflib.get_close_matches(str(model.name), names(), n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"config.model.name is {model.name!r}; expected one of {', '.join(names())}{hint}")
    return importlib.import_module(f"ssl_jax.models.{model.name}").build(model, norm=norm, dtype=dtype)
