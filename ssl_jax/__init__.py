"""ssl_jax: self-supervised learning in JAX, the same mathematics on any number of devices."""


def __getattr__(name: str):
    """`ssl_jax.load_encoder`, imported when asked for: the losses need none of what it needs."""
    if name == "load_encoder":
        from ssl_jax.encoder import load_encoder

        return load_encoder
    raise AttributeError(f"module 'ssl_jax' has no attribute {name!r}")
