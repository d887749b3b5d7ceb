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


def blocks(language):
    """The code blocks of the README in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


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


def test_published_methods_of_the_readme_are_all_there():
    text = (ROOT / "README.md").read_text()
    for line in recipes.lines():
        assert line.split(" | ")[0].split(":")[1] in text, line
