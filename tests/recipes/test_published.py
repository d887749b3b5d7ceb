"""Every recipe holds what its paper or official code says.

The tables are the files of this folder, one a method, transcribed from the sources and not from configs/:

* `RECIPES`: recipe -> {dotted key of the config: value}, see `holds.assert_holds`;
* `PUBLISHED`: recipe -> the number that it prints as published, where there is one;
* `UNCHECKED`, optional: recipes that have no table, and a comment that says why; `cpu` and `digits` need none;
* `PARAMETERS`, optional: recipe -> {network: number of its parameters}, for all of its networks;
* `VIEWS`, optional: recipe -> for each view of an image, what it is made with.
"""

import importlib
from pathlib import Path

import jax
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.recipes import CONFIGS, config_module
from ssl_jax.train import experiment
from tests.recipes.holds import agrees, assert_holds, plain

FILES = {path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("test_")}
TABLES = {name: importlib.import_module(f"tests.recipes.{name}") for name in sorted(FILES - {"__init__", "holds"})}


def every(datum):
    """A test for each recipe of which a table has this datum: `method`, `recipe`, `published`."""
    found = [
        pytest.param(method, recipe, published, id=f"{method}:{recipe}")
        for method, table in TABLES.items()
        for recipe, published in getattr(table, datum, {}).items()
    ]
    return pytest.mark.parametrize(("method", "recipe", "published"), found)


def load(method, recipe):
    return config_module(CONFIGS / f"{method}.py").get_config(recipe)


def test_every_method_has_a_table():
    assert set(TABLES) == set(methods.names())


@pytest.mark.parametrize("method", TABLES)
def test_every_recipe_with_a_source_is_in_the_table(method):
    table, listed = TABLES[method], config_module(CONFIGS / f"{method}.py").RECIPES
    checked, unchecked = set(table.RECIPES), set(getattr(table, "UNCHECKED", ()))
    sourced = {name for name, (_, paper, *_) in listed.items() if paper != "-"}
    of_ours = {name for name in set(listed) - sourced if "cpu" in name or "digits" in name}
    assert checked <= sourced and not checked & unchecked
    assert checked | unchecked == set(listed) - of_ours


@pytest.mark.parametrize("method", TABLES)
def test_recipes_print_the_published_numbers(method):
    listed, published = config_module(CONFIGS / f"{method}.py").RECIPES, getattr(TABLES[method], "PUBLISHED", {})
    assert {name: number for name, (_, _, number, _) in listed.items() if number != "-"} == published


@every("RECIPES")
def test_recipes_hold_the_published_values(method, recipe, published):
    assert_holds(load(method, recipe), published)


@every("VIEWS")
def test_views_are_made_as_published(method, recipe, published):
    augment = plain(load(method, recipe).augment)
    second, local = augment.pop("second", {}), augment.pop("local", {"count": 0})
    made = [augment, augment | second] + local["count"] * [augment | local]
    assert len(made) == len(published)
    for view, values in zip(made, published, strict=True):
        assert agrees(view, values), {name: view[name] for name in values if view[name] != values[name]}


@every("PARAMETERS")
def test_networks_have_the_published_numbers_of_parameters(method, recipe, published, tiny, own_data):
    """At full size on 16 images, with what the method knows of its smallest recipe's data; nothing is compiled."""
    config, (_, facts) = load(method, recipe), own_data(tiny(method))
    config.parallel.devices = 1
    config.train.batch_size, config.train.steps, config.train.epochs = 16, 100_000, 0
    batch = {"image": np.zeros((16, 256, 256, 3), np.uint8), "index": np.arange(16, dtype=np.int32)}
    if "text" in config.model:
        batch["tokens"] = np.zeros((16, config.model.text.length), np.int32)
    params = experiment.build(config, batch, examples=16_000, facts=facts).abstract.params
    assert {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in params.items()} == published
