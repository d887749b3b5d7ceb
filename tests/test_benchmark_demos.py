"""The benchmark of the demo recipes: which methods it runs, and what it makes of an evaluation."""

import jax
import pytest

from benchmarks import demos
from ssl_jax import methods
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import state


def joint_embedding(config, batch, known) -> bool:
    """Whether the method compares two embeddings of an image."""
    method = methods.build(config, known)
    viewed = jax.eval_shape(lambda rows: state.sample_views(method, jax.random.key(0), rows), batch)

    def outputs(rows):
        params, held = method.init(jax.random.key(0), rows)
        return method.embed(params, held, rows, jax.random.key(0), methods.Progress(0, 1), None)[0]

    return "z_a" in jax.eval_shape(outputs, viewed)


def test_every_demo_of_a_joint_embedding_method_is_run(tiny_batch):
    found = []
    for path in sorted(CONFIGS.glob("*.py")):
        module = config_module(path)
        if "digits" in module.RECIPES and getattr(methods.load(path.stem), "facts", None) is None:
            found += [path.stem] if joint_embedding(module.get_config("tiny"), tiny_batch(16), {}) else []
    assert tuple(found) == demos.METHODS


def test_the_gain_is_against_the_better_random_encoder():
    values = {"input": 0.9, "random": 0.7, "random_initial": 0.8, "encoder": 0.95}
    rows = [{"protocol": "knn", "features": kind, "value": value} for kind, value in values.items()]
    rows += [{"protocol": "linear", "features": kind, "value": 0.1} for kind in values]
    found = demos.compared(rows)
    assert found == pytest.approx({"trained": 95, "better random": 80, "pixels": 90, "gain": 15})
    assert demos.line(["moco", *found.values(), 2.04]) == "| moco | 95.0 | 80.0 | 90.0 | 15.0 | 2.0 |"
    del rows[1:3]
    with pytest.raises(ValueError):
        demos.compared(rows)  # nothing to compare with
