"""Each collective against its definition, on simulated devices, under vmap and without an axis."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from ssl_jax import collectives
from ssl_jax.train.deal import collect, deal

N = 4
X = np.random.default_rng(0).normal(size=(N, 2, 3)).astype(np.float32)  # [device, row, feature]
COTANGENT = np.random.default_rng(1).normal(size=(N, 2 * N, 3)).astype(np.float32)  # of the rows gathered on a device


def on_shards(body, *batch):
    """`body(*arrays of one device)` under shard_map; device axis first in and out."""
    mesh = jax.make_mesh((N,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:N])

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=P("data"), out_specs=P("data"), check_vma=False)
    def mapped(*batch):
        return jax.tree.map(lambda y: jnp.asarray(y)[None], body(*(x[0] for x in batch)))

    return jax.jit(mapped)(*batch)


def on_vmap(body, *batch):
    return jax.jit(jax.vmap(body, axis_name="data"))(*batch)


@pytest.fixture(params=[on_shards, on_vmap])
def devices(request):
    return request.param


def test_every_collective_is_its_definition(devices):
    def body(x):
        return {
            "gathered": collectives.all_gather({"x": x}, "data")["x"],
            "sum": collectives.psum({"x": x}, "data")["x"],
            "mean": collectives.pmean({"x": x}, "data")["x"],
            "index": collectives.axis_index("data"),
            "next": collectives.ppermute(x, "data"),
            "back by two": collectives.ppermute(x, "data", shift=-2),
            "dealt": deal({"x": x}, "data", blocks=2)["x"],
            "collected": collect(deal(x, "data", blocks=2), "data", blocks=2),
            "size": collectives.axis_size("data") * jnp.ones(()),
        }

    everywhere = {"gathered": X.reshape(2 * N, 3), "sum": X.sum(axis=0), "mean": X.mean(axis=0), "size": np.array(N)}
    expected = {name: np.broadcast_to(value, (N, *value.shape)) for name, value in everywhere.items()}
    expected |= {"index": np.arange(N), "next": X[[3, 0, 1, 2]], "back by two": X[[2, 3, 0, 1]]}
    expected |= {"dealt": X.reshape(2, N, 3).swapaxes(0, 1), "collected": X}  # blocks of a row, to each device in turn
    for name, value in devices(body, X).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_gradient_of_gathered_rows_is_summed_over_devices(devices):
    def body(x, cotangent):
        return jax.grad(lambda x: jnp.sum(cotangent * collectives.all_gather(x, "data")))(x)

    expected = COTANGENT.sum(axis=0).reshape(N, 2, 3)
    np.testing.assert_allclose(devices(body, X, COTANGENT), expected, rtol=1e-5, atol=1e-5)


def test_axis_size_is_a_python_int():
    sizes = []
    jax.vmap(lambda x: sizes.append(collectives.axis_size("data")) or x, axis_name="data")(X)
    assert sizes == [N] and isinstance(sizes[0], int)


def test_without_an_axis_everything_is_the_answer_of_one_device():
    tree = {"x": X}
    assert collectives.all_gather(tree, None) is tree
    assert collectives.psum(tree, None) is tree
    assert collectives.pmean(tree, None) is tree
    assert collectives.ppermute(tree, None, shift=3) is tree
    assert deal(tree, None, blocks=2) is collect(tree, None, blocks=2) is tree
    assert collectives.axis_index(None) == 0 and collectives.axis_size(None) == 1
