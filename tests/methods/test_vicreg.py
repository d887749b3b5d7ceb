"""VICReg: what the loss sees, the official expander, and what happens without the variance term."""

import jax
import numpy as np
import pytest

from ssl_jax.models import resnet
from tests.losses.test_redundancy import numpy_vicreg
from tests.methods.by_hand import loss_and_outputs, prepare, watched


@pytest.fixture
def prepared(tiny, tiny_batch, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS, 6, (1,))

    def make(**changes):
        config = tiny("vicreg")
        config.update_from_flattened_dict({"model.projector.hidden_dims": (24, 24), "model.projector.output_dim": 40})
        config.update_from_flattened_dict(changes)
        return config, *prepare(config, tiny_batch())

    return make


def test_the_loss_is_that_of_the_expanded_views_as_they_are(prepared):
    weights = {"invariance_weight": 3.0, "variance_weight": 7.0, "covariance_weight": 20.0}
    _, method, views, params, state = prepared(**{f"method.{name}": value for name, value in weights.items()})
    loss, (outputs, _) = jax.jit(lambda: loss_and_outputs(method, views, params, state))()
    pair = np.float64(outputs["z_a"]), np.float64(outputs["z_b"])
    assert float(loss) == pytest.approx(numpy_vicreg(*pair, **weights), rel=1e-5)
    np.testing.assert_raises(AssertionError, np.testing.assert_allclose, np.linalg.norm(pair[0], axis=1), 1, rtol=0.1)


def test_every_view_is_a_batch_of_its_own(prepared):
    _, method, views, params, state = prepared()
    run = jax.jit(lambda views: loss_and_outputs(method, views, params, state)[1][0])
    outputs, swapped = run(views), run({**views, "view_0": views["view_1"], "view_1": views["view_0"]})
    np.testing.assert_allclose(outputs["z_a"], swapped["z_b"], atol=1e-5)
    np.testing.assert_allclose(run({**views, "view_1": views["view_0"]})["z_a"], outputs["z_a"], atol=1e-5)
    assert np.abs(outputs["z_a"] - outputs["z_b"]).max() > 1e-2


def test_the_expander_is_the_official_one(prepared):
    """main_vicreg.py, `Projector`: biases in front of the norms, none at the end, and no norm there."""
    _, _, _, params, state = prepared(**{"model.projector.hidden_bias": True})
    norm, hidden = {"scale": (24,), "bias": (24,)}, {"bias": (24,)}
    assert jax.tree.map(lambda leaf: leaf.shape, params["projector"]) == {
        "dense_1": {"kernel": (16, 24)} | hidden, "norm_1": norm, "dense_2": {"kernel": (24, 24)} | hidden,
        "norm_2": norm, "dense_3": {"kernel": (24, 40)},
    }  # fmt: skip
    assert set(state["batch_stats"]["projector"]) == {"norm_1", "norm_2"}


def test_without_the_variance_term_embeddings_shrink_and_the_watch_says_so(tiny, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS, 6, (1,))

    def run(variance_weight):
        config = tiny("vicreg")
        config.train.batch_size, config.optim.learning_rate = 64, 0.01
        config.method.variance_weight = variance_weight
        config.model.projector.hidden_dims, config.model.projector.output_dim = (32, 32), 32
        return watched(config, 40)

    (warning,), row = run(0.0)
    assert "complete collapse to a point" in warning and row["variance"] > 0.96 and row["invariance"] < 0.01
    warnings, row = run(50.0)
    assert warnings == [] and row["variance"] < 0.6
