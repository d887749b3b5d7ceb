"""Self-supervised methods, one file each; `methods.load("simclr")` finds a file by its name."""

from ssl_jax.methods.api import Method, Progress, build, check_source, load, names, read

__all__ = ["Method", "Progress", "build", "check_source", "load", "names", "read"]
