"""Barlow Twins: what the loss sees, the official projector and gradient, what the redundancy term prevents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ssl_jax import losses
from ssl_jax.collectives import pmean, psum
from ssl_jax.models import resnet
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import optim
from tests.losses.test_redundancy import numpy_barlow_twins, views
from tests.methods.by_hand import loss_and_outputs, prepare, watched


@pytest.fixture
def prepared(tiny, tiny_batch, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS, 6, (1,))

    def make(**changes):
        config = tiny("barlow_twins")
        config.update_from_flattened_dict({"model.projector.hidden_dims": (24, 24), "model.projector.output_dim": 40})
        config.update_from_flattened_dict(changes)
        return config, *prepare(config, tiny_batch())

    return make


def test_the_loss_is_that_of_the_projections_of_both_views(prepared):
    _, method, views, params, state = prepared(**{"method.off_diagonal_weight": 0.02, "method.loss_scale": 0.5})
    loss, (outputs, _) = jax.jit(lambda: loss_and_outputs(method, views, params, state))()
    pair = np.float64(outputs["z_a"]), np.float64(outputs["z_b"])
    assert float(loss) == pytest.approx(0.5 * numpy_barlow_twins(*pair, off_diagonal_weight=0.02), rel=1e-5)


def test_every_view_is_a_batch_of_its_own(prepared):
    """Batch statistics are those of one view, and the running ones follow the first view, then the second."""
    _, method, views, params, state = prepared()
    run = jax.jit(lambda views: loss_and_outputs(method, views, params, state)[1])
    outputs, new = run(views)
    swapped, _ = run({**views, "view_0": views["view_1"], "view_1": views["view_0"]})
    np.testing.assert_allclose(outputs["z_a"], swapped["z_b"], atol=1e-5)
    np.testing.assert_allclose(outputs["z_b"], swapped["z_a"], atol=1e-5)
    same, after_one_view = run({**views, "view_1": views["view_0"]})
    np.testing.assert_allclose(same["z_a"], outputs["z_a"], atol=1e-5)
    assert np.abs(outputs["z_a"] - outputs["z_b"]).max() > 1e-2
    mean = [s["batch_stats"]["encoder"]["stem_norm"]["mean"] for s in (new, after_one_view)]
    # From 0 by 0.9 m + 0.1 x, twice: 0.09 of the first view's mean and 0.1 of the second's.
    first = mean[1] / 0.19
    second = (mean[0] - 0.09 * first) / 0.1
    assert np.abs(second - first).max() > 1e-3
    assert np.abs(second).max() < 3 * np.abs(first).max()


def test_the_projector_is_the_official_one(prepared):
    """main.py: linear layers without biases, batch norms behind the hidden ones; that of the outputs is in the loss."""
    _, _, _, params, state = prepared()
    norm = {"scale": (24,), "bias": (24,)}
    assert jax.tree.map(lambda leaf: leaf.shape, params["projector"]) == {
        "dense_1": {"kernel": (16, 24)}, "norm_1": norm, "dense_2": {"kernel": (24, 24)}, "norm_2": norm,
        "dense_3": {"kernel": (24, 40)},
    }  # fmt: skip
    assert set(state["batch_stats"]["projector"]) == {"norm_1", "norm_2"}


@pytest.mark.parametrize("n", [2, 8])
def test_the_official_gradient_on_several_gpus_is_a_fraction_of_the_true_one(x64, n):
    """main.py: `torch.distributed.all_reduce(c)` passes its gradient on as if it did nothing; then DDP averages.

    The recipe `_code` scales the loss by 1 / 16 for it, the number of GPUs of the README.
    """

    def official(z_a, z_b):
        z = jnp.concatenate([z_a, z_b], axis=1)  # SyncBatchNorm, whose gradient is that of the global statistics
        z = z - pmean(z.mean(axis=0), "gpu")[None]
        z = z * lax.rsqrt(pmean((z * z).mean(axis=0), "gpu") + 1e-5)[None]
        c = z[:, :5].T @ z[:, 5:] / (len(z) * n)
        c = c + lax.stop_gradient(psum(c, "gpu") - c)
        weights = jnp.where(jnp.eye(5, dtype=bool), 1, 0.0051)
        return jnp.sum(weights * (c - jnp.eye(5)) ** 2)

    def gradient(kernel, rows):  # with respect to something that all GPUs share
        return pmean(jax.grad(lambda kernel: official(rows[0] @ kernel, rows[1] @ kernel))(kernel), "gpu")

    rows, kernel = jnp.asarray(views(5)), jnp.asarray(np.random.default_rng(2).normal(size=(5, 5)))
    shards = rows.reshape(2, n, -1, 5).swapaxes(0, 1)
    found = jax.jit(jax.vmap(gradient, in_axes=(None, 0), axis_name="gpu"))(kernel, shards)[0]
    true = jax.grad(lambda kernel: losses.barlow_twins(rows[0] @ kernel, rows[1] @ kernel))(kernel)
    np.testing.assert_allclose(found, true / n, rtol=1e-9, atol=1e-12 * np.abs(true).max())


def test_the_schedule_is_the_official_one():
    """main.py, adjust_learning_rate, at ImageNet's 626 steps an epoch: the official loader keeps the last batch."""
    config = config_module(CONFIGS / "barlow_twins.py").get_config("imagenet_r50_1000ep_code")
    steps_per_epoch = 626
    params = {"w": np.zeros((2, 2)), "b": np.zeros(2)}
    _, schedule = optim.build(
        config.optim, params, {"w": "default", "b": "vectors"}, batch_size=2048, steps=1000 * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
    )  # fmt: skip
    for step in (0, 1, 6259, 6260, 100_000, 625_999):
        if step < 6260:
            expected = 8 * step / 6260 * 0.2
        else:
            q = 0.5 * (1 + np.cos(np.pi * (step - 6260) / (626_000 - 6260)))
            expected = 0.2 * (8 * q + 8 * 0.001 * (1 - q))
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5), step


def test_without_the_redundancy_term_dimensions_repeat_and_the_watch_says_so(tiny, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS, 6, (1,))

    def run(off_diagonal_weight):
        config = tiny("barlow_twins")
        config.train.batch_size, config.optim.learning_rate = 64, 0.01
        config.method.off_diagonal_weight = off_diagonal_weight
        config.model.projector.hidden_dims, config.model.projector.output_dim = (32, 32), 32
        config.augment.crop_scale, config.augment.jitter_strength = (0.5, 1.0), 0.5
        return watched(config, 40)

    (warning,), row = run(0.0)
    assert "dimensions of the embeddings repeat one another: dimensional collapse" in warning
    assert row["redundancy"] > 0.4 and row["on_diagonal"] < 3  # of 32: what is left of the loss is well solved
    warnings, row = run(0.1)  # 32 dimensions instead of 8,192 need a higher weight
    assert warnings == [] and row["redundancy"] < 0.12
