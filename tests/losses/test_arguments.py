"""Arguments that cannot be meant are refused by their name, whichever loss is given them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import losses
from ssl_jax.losses import arguments

Z = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
SHARES = np.full((2, 4, 3), 1 / 3, np.float32)
PAIRS = {
    "nt_xent": ("z_a", "z_b"), "info_nce": ("query", "key"), "dcl": ("z_a", "z_b"), "dclw": ("z_a", "z_b"),
    "byol": ("prediction", "target"), "simsiam": ("prediction", "target"), "barlow_twins": ("z_a", "z_b"),
    "vicreg": ("z_a", "z_b"), "adversarial_discriminator": ("real", "fake"), "gaussian_kl": ("mu", "log_variance"),
}  # fmt: skip
SCALED = {
    "temperature": [losses.nt_xent, losses.info_nce, losses.dcl, losses.dclw,
                    functools.partial(losses.queue_info_nce, queue=Z),
                    lambda x, y, **options: losses.sup_con(x, np.arange(4), **options),
                    lambda x, y, **options: losses.swav([x, y], SHARES, **options)],
    "logit_scale": [losses.clip, functools.partial(losses.sigmoid, logit_bias=0)],
    "epsilon": [losses.barlow_twins, losses.vicreg, lambda x, y, **options: losses.sinkhorn(x, **options)],
    "sigma": [losses.dclw],
    "scale": [lambda x, y, **options: losses.cpc(x[None, None, :3], y[None], **options)],
    "student_temperature": [lambda x, y, **options: losses.dino(SHARES, SHARES, x[0], **options)],
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_what_are_no_rows_of_real_numbers(name):
    loss, (first, second) = getattr(losses, name), PAIRS[name]
    wrong = [1j * Z, "rows", None, [[1.0], [1.0, 2.0]], Z[:, :0], Z[:0], Z[0], Z[:2], jax.random.key(0)]
    for x in wrong:
        with pytest.raises(ValueError, match=first):
            loss(x, Z)
        with pytest.raises(ValueError, match=second):
            loss(Z, x)
    np.testing.assert_array_equal(loss(Z.tolist(), Z.tolist()), loss(Z, Z))


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("value", [None, "0.1", 1j, np.inf, np.nan, 0, -1.0, True, np.ones(1), [0.1], jnp.ones((4, 1))])
def test_what_is_no_positive_number(name, value):
    for loss in SCALED[name]:
        with pytest.raises(ValueError, match=f"^{name} is ") as error:
            loss(Z, Z, **{name: value})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.nt_xent(Z, Z, weights=[1, 1, 1, -1]), "weights has -1.0"),
        (lambda: losses.byol(Z, Z, weights=[1, 1, 1, np.nan]), "weights has nan"),
        (lambda: losses.dino(SHARES, SHARES, Z[0], weights="abcd"), "weights is 'abcd'"),
        (lambda: losses.soft_cross_entropy(Z, SHARES[0], place_weights=[-1, 0, 0, 0]), "place_weights has -1.0"),
        (lambda: losses.weighted_reconstruction(*np.ones((2, 1, 2, 2, 1)), -np.ones((1, 2, 2))), "importance has -1.0"),
        (lambda: losses.negative_sampling(Z, Z, weights=-Z, negative_weights=Z), "weights has"),
        (lambda: losses.barlow_twins(Z, Z, off_diagonal_weight=-1), "off_diagonal_weight is -1, but must be 0 or more"),
        (lambda: losses.vicreg(Z, Z, variance_weight=np.nan), "variance_weight is nan"),
        (lambda: losses.sigmoid(Z, Z, logit_scale=1, logit_bias=np.inf), "logit_bias is inf"),
        (lambda: losses.sinkhorn(Z, iterations=1.5), "iterations is 1.5"),
        (lambda: losses.sinkhorn(Z, iterations=None), "iterations is None"),
        (lambda: losses.swav([Z, Z], [SHARES[0] * 2]), r"assignments\[0\] has a row of sum 2"),
        (lambda: losses.swav(3, SHARES), "scores"),
        (lambda: losses.soft_cross_entropy(Z, 2 * SHARES[0]), "targets has a row of sum 2"),
        (lambda: losses.update_centre(Z[0], SHARES, momentum=1.5), r"momentum is 1.5, but must be in 0 \.\.\. 1"),
        (lambda: losses.update_centre(np.zeros(3, int), SHARES), "centre is of int"),
        (lambda: losses.sup_con(Z, np.array([0, 1, 5, 5 + 2**32])), "labels has 4294967301, too much for int32"),
        (lambda: losses.sup_con(Z, [0, 1, 5, 5 + 2**32]), "labels has 4294967301, too much for int32"),
        (lambda: losses.cross_entropy(Z, [0, 1, 2, 3]), r"labels has 3, but must be in 0 \.\.\. 2"),
        (lambda: losses.cross_entropy(Z, [0, 1, 2, -1]), "labels has -1"),
        (lambda: losses.cross_entropy(Z, np.ones(4)), "labels is of float"),
        (lambda: losses.vocabulary_cross_entropy(Z, Z, Z[:, 0], [0, 1, 2, 0], np.ones(4), tile=0), "tile is 0"),
        (lambda: losses.cpc(Z[None, None, :3], Z[None], first=0.5), "first is 0.5"),
        (lambda: losses.cpc(Z[None, None, :3], Z[None], group_size=-1), "group_size is -1"),
        (lambda: losses.gaussian_nll(Z, Z, np.zeros(2)), "log_scale has shape"),
        (lambda: losses.info_nce(Z, Z, similarity=None), "similarity is None, but must be 'cosine' or 'dot'"),
    ],
)
def test_other_arguments(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_traced_numbers_pass():
    value = jax.jit(lambda z, t, w: losses.byol(z, t * z, weights=w))(Z, -1.0, -np.ones(4))
    assert value == 4  # nobody looked at the weights


def test_what_shapes_are_asked_for():
    x = np.ones((2, 3, 4))
    assert [y.shape for y in arguments.arrays("-", x=(x, "b ... K"), y=(x[..., 0], "b ..."))] == [(2, 3, 4), (2, 3)]
    for y in (x[0, :, 0], x[:, :2, 0], x[:, :, :, None]):
        with pytest.raises(ValueError, match=r"x has shape .* and y has shape .*\[b, \.\.\., K\] and \[b, \.\.\.\]"):
            arguments.arrays("-", x=(x, "b ... K"), y=(y, "b ..."))


AXIS = "axis_name is 'data', but no axis of that name is mapped here"


@pytest.mark.parametrize("loss", [losses.nt_xent, losses.byol, losses.simsiam, losses.barlow_twins, losses.gaussian_kl])
def test_an_axis_that_is_not_there(loss):
    with pytest.raises(ValueError, match=AXIS):
        loss(Z, Z, axis_name="data")


@pytest.mark.parametrize("loss", [losses.nt_xent, functools.partial(losses.clip, logit_scale=1.0, block_size=1)])
def test_a_gradient_from_outside_of_vmap_is_refused_with_a_sentence(loss):
    def outside(z):
        return jax.vmap(lambda x, y: loss(x, y, axis_name="data"), axis_name="data")(z, z).mean()

    with pytest.raises(ValueError, match=f"{AXIS}: call this, and take its gradient, inside"):
        jax.grad(outside)(Z.reshape(2, 2, 3))
