"""How exact the contrastive losses are in float32: this library's tiles and the plain form against float64.

    python -m benchmarks.accuracy

Errors relative to the norm: of the value, and the largest of the gradients of both embeddings and of the temperature.
Two kinds of batches of float32 embeddings: independent ones, and views that resemble each other, of whose loss little
is left. The plain form is that of `benchmarks.losses`: unit length, all logits, `logsumexp` minus the diagonal.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl import app

from benchmarks.losses import cross_entropy, gathered_clip, gathered_nt_xent, unit
from ssl_jax import losses

BATCHES = {"independent": (0, 256, 128), "alike": (1, 192, 64)}  # share of the other view, batch, dimensions
TEMPERATURES = (0.1, 0.02, 0.01, 0.005)
TILE = {"block_size": 64}


def plain_info_nce(x, y, temperature):
    return cross_entropy(unit(x) @ unit(y).T / temperature, jnp.arange(len(x)))


PLAIN = {
    "clip": lambda x, y, temperature: gathered_clip(x, y, temperature=temperature),
    "nt_xent": lambda x, y, temperature: gathered_nt_xent(x, y, temperature=temperature),
    "info_nce": plain_info_nce,
}
TILED = {
    "clip": lambda x, y, temperature: losses.clip(x, y, logit_scale=1 / temperature, **TILE),
    "nt_xent": lambda x, y, temperature: losses.nt_xent(x, y, temperature=temperature, **TILE),
    "info_nce": lambda x, y, temperature: losses.info_nce(x, y, temperature=temperature, **TILE),
}


def pair(share: float, batch: int, width: int):
    """Two float32 `[batch, width]`, of which the second has a share of the first."""
    numbers = np.random.default_rng(1)
    x = numbers.normal(size=(batch, width)).astype(np.float32)
    return x, (share * x + numbers.normal(size=x.shape)).astype(np.float32)


def evaluate(loss, x, y, temperature, dtype):
    """The value and its three gradients, computed in `dtype` from the same float32 numbers."""
    arguments = [jnp.asarray(np.asarray(number, np.float32), dtype) for number in (x, y, temperature)]
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(*arguments)


def error(found, exact) -> float:
    found, exact = np.asarray(found, np.float64), np.asarray(exact)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def main(_):
    jax.config.update("jax_enable_x64", True)
    print("| views | temperature | loss | tiled: value | gradients | plain: value | gradients |")
    print("|---" * 7 + "|")
    for views, shape in BATCHES.items():
        for temperature in TEMPERATURES:
            for name in TILED:
                run = functools.partial(evaluate, x=pair(*shape)[0], y=pair(*shape)[1], temperature=temperature)
                value, gradients = run(PLAIN[name], dtype=jnp.float64)
                cells = []
                for form in (TILED, PLAIN):
                    found, of_all = run(form[name], dtype=jnp.float32)
                    worst = max(error(a, b) for a, b in zip(of_all, gradients, strict=True))
                    cells += [f"{error(found, value):.0e}", f"{worst:.0e}"]
                print(f"| {views} | {temperature} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    app.run(main)
