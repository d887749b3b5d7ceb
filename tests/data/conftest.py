import numpy as np
import pytest


@pytest.fixture
def npz(tmp_path):
    """`npz(image=..., label=...)`: the spec of a source of these arrays."""

    def save(split="train", **arrays):
        np.savez(tmp_path / f"{split}.npz", **arrays)
        return f"npz:{tmp_path}"

    return save
