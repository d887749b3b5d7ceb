"""What `import ssl_jax` offers, in a checkout and in an installed wheel."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ssl_jax

ROOT = Path(__file__).resolve().parents[1]


def test_everything_is_there_and_shown():
    assert set(dir(ssl_jax)) == {
        "augment", "losses", "methods", "models", "load_encoder", "get_config", "fit", "probe", "__version__"
    }  # fmt: skip
    assert all(getattr(ssl_jax, name) is not None for name in dir(ssl_jax))
    assert ssl_jax.losses.nt_xent and ssl_jax.augment.view and ssl_jax.models.build and ssl_jax.methods.build
    with pytest.raises(AttributeError, match="it offers __version__, augment"):
        ssl_jax.loses  # noqa: B018


def test_nothing_is_imported_before_it_is_asked_for():
    code = "import sys, ssl_jax; ssl_jax.losses; print([m for m in sys.modules if m in ('orbax', 'grain', 'sklearn')])"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_configs_by_their_short_names():
    assert ssl_jax.get_config("byol").method.name == "byol"
    assert ssl_jax.get_config("simclr:cifar10_r18").train.batch_size == 512
    with pytest.raises(ValueError, match="did you mean 'simclr'"):
        ssl_jax.get_config("simcrl:digits")
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        ssl_jax.get_config("simclr:digit")
    with pytest.raises(AttributeError, match="temprature"):
        ssl_jax.get_config("simclr").method.temprature = 0.1


def test_train_probe_and_encode_from_python(tmp_path, tiny):
    config = ssl_jax.get_config("rotation:tiny")
    assert config.is_locked
    assert ssl_jax.fit(config, tmp_path / "run") == "finished"
    rows = ssl_jax.probe(tmp_path / "run", ("knn", "pretext"))
    assert {row["protocol"] for row in rows} == {"knn", "pretext"}
    assert {row["metric"] for row in rows} >= {"loss", "rotation_top1", "top1 of class 0"}
    features = ssl_jax.load_encoder(tmp_path / "run")(np.zeros((2, 8, 8, 1), np.uint8))
    assert features.shape[0] == 2 and np.isfinite(features).all()


def test_a_wheel_holds_the_recipes(tmp_path):
    """Every package is in it, and the recipes are found outside of a checkout."""
    folders = {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in (ROOT / "ssl_jax").rglob("*.py")}
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "site", ROOT]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[-2000:]
    installed = {str(p.parent.relative_to(tmp_path / "site")).replace("/", ".")
                 for p in (tmp_path / "site" / "ssl_jax").rglob("*.py")}  # fmt: skip
    assert installed == folders | {"ssl_jax.configs"}
    code = "import ssl_jax; print(ssl_jax.__file__, ssl_jax.get_config('simclr:digits').method.name)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    ran = subprocess.run([sys.executable, "-c", code], cwd="/", env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert str(tmp_path) in ran.stdout and ran.stdout.split()[-1] == "simclr"
