"""Examples in docstrings and documents run, and documents name files and recipes that exist."""

import doctest
import importlib
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ssl_jax
from ssl_jax import losses, recipes
from ssl_jax.data import sources

ROOT = Path(ssl_jax.__file__).parent.parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "ssl_jax").rglob("*.py")
    if ">>>" in path.read_text()
)
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(name):
    module = importlib.import_module(name)
    found = doctest.testmod(module, extraglobs={"jax": jax, "jnp": jnp, "np": np})
    assert found.attempted and not found.failed


def test_the_loss_of_the_readme_runs():
    block = next(text for text in blocks("python") if "nt_xent" in text)
    names = {}
    exec(block, names)
    assert names["gradient"].shape == (256, 128)
    expected = losses.nt_xent(names["z_a"], names["z_b"], temperature=0.1)
    assert float(names["loss"]) == pytest.approx(float(expected))


def test_examples_of_the_losses_run():
    names = {}
    for block in blocks("python", "docs/losses.md"):
        exec(block, names)
    # One device, eight by shard_map and eight by pmap: the same loss, and a step that lowers it.
    for loss in (names["loss"], names["again"]):
        assert float(loss) == pytest.approx(float(names["value"]), rel=1e-5)
    assert float(names["sharded"](names["new_params"], names["images"], names["texts"])[0]) < float(names["loss"])
    rows = names["values"]
    assert rows.shape == (64,) and float(names["padded"]) != pytest.approx(float(rows.mean()), rel=1e-5)
    assert names["assignments"].shape == (64, 8)


def test_every_loss_has_its_row():
    table = (ROOT / "docs/losses.md").read_text()
    of_methods = {"barlow_twins_terms", "vicreg_terms"}  # for logging
    assert not [name for name in losses.__all__ if name not in of_methods and f"`{name}" not in table]


def blocks(language, document="README.md"):
    """The code blocks of a document in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_what_exists(document):
    text = document.read_text()
    listed = {line.split(" | ")[0] for line in recipes.lines()}
    for recipe in re.findall(r"configs/\w+\.py:\w+", text):
        assert recipe in listed, recipe
    for name in re.findall(r"(?:ssl_jax|configs|tests|launch|docs)/[\w/]+\.(?:py|sh|md)", text):
        assert (ROOT / name).exists(), name
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (document.parent / link).exists(), link


def test_the_table_of_the_readme_is_that_of_the_recipes():
    """Made by `python -m ssl_jax.recipes --markdown`; a method that is not in it fails here."""
    text = (ROOT / "README.md").read_text()
    table = text.split("<!-- recipes: python -m ssl_jax.recipes --markdown -->\n")[1].split("\n<!-- end of")[0]
    assert table == recipes.markdown()


def test_the_table_of_the_readme_has_every_system():
    methods = re.findall(r"^\| \[(\w+)\]\(ssl_jax/methods/\1\.py\)", (ROOT / "README.md").read_text(), re.MULTILINE)
    systems = {
        "word2vec", "bert", "context_prediction", "inpainting", "colorization", "split_brain", "rotation", "cpc_audio",
        "cpc_image", "moco", "moco_v3", "simclr", "mae", "clip", "siglip",
    }  # fmt: skip
    assert systems <= set(methods) and len(methods) == len(set(methods)) == len(list((ROOT / "configs").glob("*.py")))
    for name in ("moco:v1_imagenet_r50", "moco:v2_imagenet_r50_200ep"):
        assert recipes.get_config(name).method.name == "moco"


def test_every_kind_of_data_has_a_row():
    rows = re.findall(r"^\| `(\w+)", (ROOT / "docs/data.md").read_text(), re.MULTILINE)
    assert rows == list(sources._LOADERS)
