"""Methods that the contract must carry beside those of two views: tables, two towers, adversaries, plain means."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssl_jax import losses
from ssl_jax.losses import embeddings
from ssl_jax.methods.api import Method
from ssl_jax.train import microbatches, step, tables
from ssl_jax.train.state import TrainState

RATE = 0.5


def start(params, state=()):
    """A run before its first step, trained by SGD; tables stay outside of the optimizer."""
    return TrainState(jnp.int32(0), jax.tree.map(jnp.asarray, params), dict(state), (), {}, jax.random.key(0))


def train(method, params, batch, *, devices=1, steps=3, state=(), table_factors=(), rates=None, gradient_fn=None):
    """Parameters and metrics after some steps of SGD, on devices that `jax.vmap` stands in for."""
    groups = method.groups(params)
    labels = tables.without(groups, dict(table_factors))
    optimizer = optax.partition({name: optax.sgd(rate) for name, rate in (rates or {"default": RATE}).items()}, labels)
    body = step.make_step(
        method, optimizer, lambda count: RATE, steps=steps, tables=dict(table_factors), gradient_fn=gradient_fn
    )
    run = start(params, state)
    run = run.replace(optimizer=optimizer.init(tables.without(run.params, dict(table_factors))))
    rows = {name: value.reshape(devices, -1, *value.shape[1:]) for name, value in batch.items()}
    mapped = jax.jit(jax.vmap(partial(body, axis_name="data"), in_axes=(None, 0), axis_name="data"))
    for _ in range(steps):
        stacked, metrics = mapped(run, rows)
        for leaf in jax.tree.leaves(stacked.params):
            np.testing.assert_array_equal(leaf, jnp.broadcast_to(leaf[:1], leaf.shape))
        run = jax.tree.map(lambda leaf: leaf[0], stacked)
    return jax.device_get((run.params, jax.tree.map(lambda leaf: leaf[0], metrics)))


def assert_close(found, expected, tolerance):
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max(), jax.tree_util.keystr(path)


def one_group(params):
    return jax.tree.map(lambda leaf: "default", params)


def skip_gram(dense: bool) -> Method:
    """Two tables: a word finds its neighbour among negatives (Mikolov et al. 2013); `dense`: differentiated whole."""

    def embed(params, state, batch, key, progress, axis_name, train=True):
        if dense:
            return {"word": params["words"][batch["word"]], "others": params["contexts"][batch["others"]]}, state
        return {"word": params["words"], "others": params["contexts"]}, state

    def objective(params, outputs, state, progress, axis_name):
        scores = jnp.einsum("bnd,bkd->bk", outputs["word"], outputs["others"])
        losses = jax.nn.softplus(-scores[:, 0]) + jnp.sum(jax.nn.softplus(scores[:, 1:]), axis=1)
        return jnp.mean(losses), state, {}

    rows = None if dense else lambda batch: {"words": batch["word"], "contexts": batch["others"]}
    return Method(
        init=None, views=lambda key, example: example, embed=embed, objective=objective, encode=None,
        groups=one_group, table_rows=rows,
    )  # fmt: skip


@pytest.fixture
def words():
    numbers = np.random.default_rng(0)
    params = {"words": numbers.normal(size=(9, 4)), "contexts": numbers.normal(size=(9, 4))}
    batch = {
        "word": numbers.integers(0, 9, (16, 1)), "others": numbers.integers(0, 9, (16, 5)),
        "index": np.arange(16, dtype=np.int32),
    }  # fmt: skip
    batch["word"][:4], batch["others"][2] = 3, 7  # words that come many times in a batch, and in an example
    return params, batch


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_tables_move_as_the_dense_gradient_moves_them(devices, words, x64):
    factors = {"words": 1.0, "contexts": 1.0}
    expected, _ = train(skip_gram(dense=True), *words)
    found, _ = train(skip_gram(dense=False), *words, devices=devices, table_factors=factors)
    assert_close(found, expected, 1e-12)
    assert not np.allclose(found["words"][3], words[0]["words"][3])


def test_a_table_has_its_own_learning_rate_and_what_is_not_finite_moves_nothing(words, x64):
    params, batch = words
    still, _ = train(skip_gram(dense=False), params, batch, table_factors={"words": 1.0, "contexts": 0.0}, steps=1)
    np.testing.assert_array_equal(still["contexts"], params["contexts"])
    assert np.abs(still["words"] - params["words"]).max() > 0
    body = step.make_step(
        skip_gram(dense=False), optax.identity(), lambda count: RATE, steps=1, skip_nonfinite=True,
        tables={"words": 1.0, "contexts": 1.0},
    )  # fmt: skip
    bad = start(params | {"words": params["words"] * np.nan})
    after, metrics = body(bad, jax.tree.map(jnp.asarray, batch))
    assert int(metrics["nonfinite"]) == 0
    np.testing.assert_array_equal(after.params["contexts"], params["contexts"])


def test_memory_and_time_are_those_of_the_rows(words):
    """No array as large as a table but the table itself: it is donated and updated in place."""
    _, batch = words
    params = {name: np.zeros((100_000, 4), np.float32) for name in ("words", "contexts")}
    body = step.make_step(
        skip_gram(dense=False), optax.identity(), lambda count: RATE, steps=1, tables={"words": 1.0, "contexts": 1.0}
    )
    compiled = jax.jit(body, donate_argnums=0).lower(start(params), batch).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 100_000


def test_microbatches_refuse_tables(words):
    with pytest.raises(ValueError, match="set config.train.microbatches=1"):
        microbatches.make(skip_gram(dense=False), 2, 16, 1, norm_groups=1, params={}, state={}, viewed={})


def two_towers() -> Method:
    """CLIP in small: two linear towers of different inputs and a learned scale, clamped after every update."""

    def embed(params, state, batch, key, progress, axis_name, train=True):
        return {"z_a": batch["image"] @ params["image"], "z_b": batch["text"] @ params["text"]}, state

    def objective(params, outputs, state, progress, axis_name):
        scale = jnp.exp(params["log_scale"])
        return losses.clip(outputs["z_a"], outputs["z_b"], logit_scale=scale, axis_name=axis_name), state, {}

    def clamp(params, state, progress):
        return params | {"log_scale": jnp.minimum(params["log_scale"], np.log(3.0))}, state

    return Method(
        init=None, views=lambda key, example: example, embed=embed, objective=objective, encode=None,
        after_update=clamp, groups=one_group,
    )  # fmt: skip


@pytest.mark.parametrize("devices", [2, 8])
def test_two_towers_with_a_learned_scale(devices, x64):
    numbers = np.random.default_rng(1)
    shared = numbers.normal(size=(16, 3))
    batch = {
        "image": shared @ numbers.normal(size=(3, 6)), "text": shared @ numbers.normal(size=(3, 5)),
        "index": np.arange(16, dtype=np.int32),
    }  # fmt: skip
    params = {"image": numbers.normal(size=(6, 4)), "text": numbers.normal(size=(5, 4)), "log_scale": np.array(1.0)}
    one, _ = train(two_towers(), params, batch, steps=20)
    many, _ = train(two_towers(), params, batch, steps=20, devices=devices)
    assert_close(many, one, 1e-9)
    assert one["log_scale"] == np.log(3.0)  # it grew as far as it may


def adversaries() -> Method:
    """A generator and a discriminator in one joint step: one loss, each term's gradient kept from the other's part."""
    fixed = partial(jax.tree.map, jax.lax.stop_gradient)

    def embed(params, state, batch, key, progress, axis_name, train=True):
        return {"fake": batch["noise"] @ params["generator"], "real": batch["real"]}, state

    def objective(params, outputs, state, progress, axis_name):
        score = lambda weights, x: jnp.tanh(x @ weights["hidden"]) @ weights["out"]  # noqa: E731
        judge, fake = params["discriminator"], outputs["fake"]
        deceive = jnp.mean(jax.nn.softplus(-score(fixed(judge), fake)))
        tell = jax.nn.softplus(-score(judge, outputs["real"])) + jax.nn.softplus(score(judge, fixed(fake)))
        return deceive + jnp.mean(tell), state, {"deceive": deceive, "tell": jnp.mean(tell)}

    return Method(
        init=None, views=lambda key, example: example, embed=embed, objective=objective, encode=None,
        groups=lambda params: {name: jax.tree.map(lambda leaf, name=name: name, tree) for name, tree in params.items()},
    )  # fmt: skip


@pytest.mark.parametrize("devices", [1, 4])
def test_adversaries_move_by_their_own_losses_and_rates(devices, x64):
    numbers = np.random.default_rng(2)
    params = {
        "generator": numbers.normal(size=(2, 3)),
        "discriminator": {"hidden": numbers.normal(size=(3, 4)), "out": numbers.normal(size=4)},
    }
    batch = {
        "noise": numbers.normal(size=(8, 2)), "real": numbers.normal(size=(8, 3)), "index": np.arange(8, dtype=np.int32)
    }  # fmt: skip
    method, rates = adversaries(), {"generator": 0.1, "discriminator": 0.01}
    found, _ = train(method, params, batch, steps=1, rates=rates, devices=devices)

    def term(name, part):
        def loss(own):
            outputs, _ = method.embed(params | {part: own}, {}, batch, None, None, None)
            return method.objective(params | {part: own}, outputs, {}, None, None)[2][name]

        return jax.grad(loss)(params[part])

    expected = {
        part: jax.tree.map(lambda leaf, slope, part=part: leaf - rates[part] * slope, params[part], term(name, part))
        for part, name in (("generator", "deceive"), ("discriminator", "tell"))
    }
    assert_close(found, jax.device_get({name: expected[name] for name in found}), 1e-9)


def regression(separable: bool) -> Method:
    """A mean of per-example losses behind statistics of the batch, which are part of the state."""

    def embed(params, state, batch, key, progress, axis_name, train=True):
        noise = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i), (3,)))(batch["index"])
        z = jnp.tanh((batch["x"] + noise) @ params["w"])
        return {"z": z, "y": batch["y"]}, {"mean": 0.9 * state["mean"] + 0.1 * batch["x"].mean(axis=0)}

    def objective(params, outputs, state, progress, axis_name):
        errors = jnp.square(outputs["z"] @ params["v"] - outputs["y"])
        return embeddings.mean(errors, None, axis_name=axis_name), state, {"worst": errors.max()}

    return Method(
        init=None, views=lambda key, example: example, embed=embed, objective=objective, encode=None,
        groups=one_group, separable=separable,
    )  # fmt: skip


@pytest.mark.parametrize("devices", [1, 2])
def test_separable_losses_need_one_pass(devices, x64):
    numbers = np.random.default_rng(3)
    params, state = {"w": numbers.normal(size=(3, 2)), "v": numbers.normal(size=2)}, {"mean": np.zeros(3)}
    batch = {"x": numbers.normal(size=(16, 3)), "y": numbers.normal(size=16), "index": np.arange(16, dtype=np.int32)}
    whole, metrics = train(regression(True), params, batch, state=state)
    for separable in (True, False):
        method, passes = regression(separable), []
        counted = lambda *args, method=method, passes=passes, **options: (  # noqa: E731
            passes.append(1) or method.embed(*args, **options)
        )
        counting = Method(**{**vars(method), "embed": counted})
        gradient_fn = microbatches.make(
            method, 4, 16, devices, norm_groups=4, params=params, state=state, viewed=jax.eval_shape(lambda: batch)
        )
        parts, found = train(
            counting, params, batch, state=state, devices=devices,
            gradient_fn=gradient_fn,
        )  # fmt: skip
        assert_close(parts, whole, 1e-12)
        assert found["loss"] == pytest.approx(metrics["loss"], rel=1e-12)
        assert len(passes) == (1 if separable else 2)  # traced once a pass
