"""Rows of no length, of next to none and of very great length, numbers that are not finite: every loss, every type."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import losses

B, D = 4, 3
ROWS = np.random.default_rng(0).normal(size=(2, B, D))
LABELS, CODES = np.array([0, 1, 0, 1]), np.array([[1, 0, 1], [0, 1, 1]] * 2)
QUEUE, TABLE = np.random.default_rng(1).integers(-9, 9, (2, 4, D)) / 8  # exact in every type


def of_numbers(x):
    """Constants in the type of the rows."""
    return lambda numbers: jnp.asarray(numbers, x.dtype)


DIRECTIONS = {  # of the length of rows they know nothing
    "nt_xent": losses.nt_xent,
    "info_nce": losses.info_nce,
    "queue_info_nce": lambda x, y: losses.queue_info_nce(x, y, of_numbers(x)(QUEUE)),
    "clip": lambda x, y: losses.clip(x, y, logit_scale=10),
    "clip in tiles": lambda x, y: losses.clip(x, y, logit_scale=50, block_size=2),
    "sigmoid": lambda x, y: losses.sigmoid(x, y, logit_scale=10, logit_bias=-5),
    "sup_con": lambda x, y: losses.sup_con(jnp.concatenate([x, y]), np.tile(LABELS, 2)),
    "dcl": losses.dcl,
    "dclw": losses.dclw,
    "byol": losses.byol,
    "simsiam": losses.simsiam,
}
NUMBERS = {  # of logits, products and pixels
    "info_nce of products": lambda x, y: losses.info_nce(x, y, similarity="dot"),
    "swav": lambda x, y: losses.swav([x, y], [losses.sinkhorn(x), losses.sinkhorn(y)]),
    "dino": lambda x, y: losses.dino(jnp.stack([x, y]), jnp.stack([y, x]), jnp.zeros(D, x.dtype)),
    "update_centre": lambda x, y: losses.update_centre(jnp.zeros(D), jnp.stack([x, y])).sum(),
    "barlow_twins": losses.barlow_twins,
    "vicreg": losses.vicreg,
    "cross_entropy": lambda x, y: losses.cross_entropy(x, LABELS) + losses.cross_entropy(y, LABELS),
    "soft_cross_entropy": lambda x, y: losses.soft_cross_entropy(x, jax.nn.softmax(y.astype(float))),
    "vocabulary_cross_entropy": lambda x, y: losses.vocabulary_cross_entropy(
        jnp.concatenate([x, y]), of_numbers(x)(TABLE), of_numbers(x)(np.zeros(4)), np.tile(LABELS, 2), np.ones(2 * B)
    )[0],
    "adversarial_discriminator": losses.adversarial_discriminator,
    "adversarial_generator": lambda x, y: losses.adversarial_generator(x) + losses.adversarial_generator(y),
    "negative_sampling": lambda x, y: losses.negative_sampling(
        x, y, weights=np.ones((B, D)), negative_weights=np.ones((B, D))
    ),
    "hierarchical_softmax": lambda x, y: losses.hierarchical_softmax(x + y, CODES, weights=np.ones((B, D))),
    "gaussian_kl": lambda x, y: losses.gaussian_kl(x, y),
    "gaussian_nll": lambda x, y: losses.gaussian_nll(x, y, jnp.zeros(D)),
    "masked_reconstruction": lambda x, y: losses.masked_reconstruction(x[:, None], y[:, None], np.ones((B, 1))),
    "weighted_reconstruction": lambda x, y: losses.weighted_reconstruction(
        x[:, None, None], y[:, None, None], np.ones((B, 1, 1))
    ),
    "cpc": lambda x, y: losses.cpc(x[None, None, :3], y[None]),
}
ALL = DIRECTIONS | NUMBERS
LENGTHS = {"zero": 0, "tiny": 1e-30, "huge": 1e25}
HUGE_IN_FLOAT16 = 1e4


def test_the_tables_have_every_loss():
    terms = {"barlow_twins_terms", "vicreg_terms", "cpc_terms", "sinkhorn"}  # which others are made of
    assert {name.split(" ")[0] for name in ALL} == set(losses.__all__) - terms


def with_row(rows, index, length, dtype):
    """The rows in a type, one of them times a number."""
    rows = rows.copy()
    rows[index] *= length
    return jnp.asarray(rows, dtype)


def exact(run, x, y):
    """Value and gradients at the same numbers in float64."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, run(*(jnp.asarray(np.asarray(z, np.float64)) for z in (x, y))))


@pytest.mark.parametrize("name", ALL)
def test_values_and_gradients_are_right_or_not_finite(name):
    """Against float64, where none of these numbers overflows; float16 has the nearest gradients that it can hold."""
    run = jax.jit(jax.value_and_grad(ALL[name], argnums=(0, 1)))
    types = {jnp.float32: 1e-4, jnp.float16: 1e-3} | ({jnp.bfloat16: 2e-2} if name in DIRECTIONS else {})
    for dtype, tolerance in types.items():
        for label, length in LENGTHS.items():
            if label == "huge" and name in ("swav", "dino"):
                continue  # differences of logits of 1e26 are of rounding alone
            if label == "huge" and dtype == jnp.float16:
                length = HUGE_IN_FLOAT16
            x, y = with_row(ROWS[0], 1, length, dtype), jnp.asarray(ROWS[1], dtype)
            found, wanted = run(x, y), exact(run, x, y)
            check(name, label, dtype, tolerance, *found, *wanted)
    for bad in (np.nan, np.inf, -np.inf):
        if name == "cross_entropy" and bad == -np.inf:
            continue  # the logit of what is impossible
        x, y = jnp.asarray(ROWS[0], jnp.float32).at[1, 2].set(bad), jnp.asarray(ROWS[1], jnp.float32)
        assert not np.isfinite(run(x, y)[0]), (name, bad)


def check(name, label, dtype, tolerance, value, gradients, wanted, wanted_gradients):
    about = f"{name}, {label}, {dtype.__name__}"
    overflows = name == "barlow_twins" and label == "huge" and dtype != jnp.float16  # its variances
    if overflows or abs(wanted) > np.finfo(np.float32).max:  # no number for it: it must not look like one
        assert not np.isfinite(value), about
        return
    np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-6, err_msg=about)
    largest = float(jnp.finfo(dtype).max)
    for gradient, want in zip(gradients, wanted_gradients, strict=True):
        want = np.clip(want, -largest, largest)
        error = np.abs(np.asarray(gradient, np.float64) - want).max(axis=1)
        assert np.all(error <= tolerance * np.abs(want).max(axis=1) + 1e-6), (about, gradient, want)


def test_a_row_that_is_not_finite_is_not_hidden_where_it_has_no_partner():
    z = jnp.asarray(ROWS[0], jnp.float32).at[2].set(jnp.nan)
    for labels in ([0, 0, 1, 0], [0, 1, 2, 3]):
        assert np.isnan(losses.sup_con(z, jnp.array(labels), block_size=2))
