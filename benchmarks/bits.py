"""Whether the contrastive losses have the same bits on 1, 2, 4 and 8 devices: how many numbers differ from one device.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m benchmarks.bits --batches=512,1024,4096

The value, and the gradients of the temperature and of both embeddings, as every device has them: not averaged, since
an average over eight devices may round eight equal values. The scale is traced; independent embeddings, and views that
resemble each other.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from ssl_jax import losses

AXIS, WIDTH = "data", 128
VIEWS = {"independent": 0, "alike": 1}  # share of the first view in the second
LOSSES = {
    "clip": lambda x, y, scale, **options: losses.clip(x, y, logit_scale=scale, **options),
    "nt_xent": lambda x, y, scale, **options: losses.nt_xent(x, y, temperature=1 / scale, **options),
    "info_nce": lambda x, y, scale, **options: losses.info_nce(x, y, temperature=1 / scale, **options),
}
FLAGS = flags.FLAGS
if __name__ == "__main__":
    flags.DEFINE_list("batches", ["512", "1024", "4096"], "Global batches.")
    flags.DEFINE_list("losses", list(LOSSES), "Of clip, nt_xent and info_nce.")
    flags.DEFINE_list("devices", ["2", "4", "8"], "Compared with one.")
    flags.DEFINE_list("scales", ["10", "60", "100"], "1 / temperature.")


def program(name: str, devices: int):
    """`scale, x, y -> [value, of the scale, of x, of y]`, the gradients those of the global loss."""

    def body(scale, x, y):
        run = jax.value_and_grad(functools.partial(LOSSES[name], axis_name=AXIS), argnums=(2, 0, 1))
        value, (of_scale, *of_rows) = run(x, y, scale)
        return [value, of_scale], [gradient / devices for gradient in of_rows]

    mesh = jax.make_mesh((devices,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    specs = {"in_specs": (P(), P(AXIS), P(AXIS)), "out_specs": (P(), P(AXIS))}
    return jax.jit(jax.shard_map(body, mesh=mesh, check_vma=False, **specs))


def pair(batch: int, share: float):
    """Two float32 `[batch, WIDTH]`, of which the second has a share of the first."""
    numbers = np.random.default_rng(0)
    x = numbers.normal(size=(batch, WIDTH)).astype(np.float32)
    return x, (share * x + numbers.normal(size=x.shape)).astype(np.float32)


def main(_):
    print("| loss | batch | devices | views | scale | value | of the scale | of x | of y |")
    print("|---" * 9 + "|")
    for name in FLAGS.losses:
        for batch in map(int, FLAGS.batches):
            cases = [(views, float(scale)) for views in VIEWS for scale in FLAGS.scales]
            found = {}
            for devices in [1, *map(int, FLAGS.devices)]:
                run = program(name, devices)
                for views, scale in cases:
                    of_all = run(jnp.float32(scale), *pair(batch, VIEWS[views]))
                    found[devices, views, scale] = jax.device_get(jax.tree.leaves(of_all))
            for devices, views, scale in found:
                if devices == 1:
                    continue
                same = zip(found[devices, views, scale], found[1, views, scale], strict=True)
                differ = [np.count_nonzero(np.atleast_1d(a != b)) for a, b in same]
                cells = " | ".join(f"{count:,}" for count in differ)
                print(f"| {name} | {batch:,} | {devices} | {views} | {scale:g} | {cells} |", flush=True)


if __name__ == "__main__":
    app.run(main)
