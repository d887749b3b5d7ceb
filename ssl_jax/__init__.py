"""ssl_jax: self-supervised learning in JAX, the same mathematics on any number of devices.

    import ssl_jax
    config = ssl_jax.get_config("simclr:digits")
    ssl_jax.fit(config, "runs/simclr_digits")
    ssl_jax.probe("runs/simclr_digits", ("knn", "linear"))
    features = ssl_jax.load_encoder("runs/simclr_digits")(images)

Everything is imported when it is asked for: the losses need none of what training needs.
"""

import importlib

__version__ = "0.1.0"
_FOLDERS = ("augment", "losses", "methods", "models")
_FUNCTIONS = {
    "load_encoder": "ssl_jax.encoder",
    "get_config": "ssl_jax.recipes",
    "fit": "ssl_jax.pretrain",
    "probe": "ssl_jax.evaluate",
}
__all__ = sorted([*_FOLDERS, *_FUNCTIONS, "__version__"])


def __getattr__(name: str):
    if name in _FOLDERS:
        return importlib.import_module(f"ssl_jax.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'ssl_jax' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__():
    return __all__
