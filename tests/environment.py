"""The environment of commands that tests start."""

import os
from pathlib import Path

WITHOUT_TORCH = Path(__file__).parent / "without_torch"


def environment(**changes) -> dict[str, str]:
    """That of the tests, where PyTorch cannot be imported, with changes: see `without_torch/torch.py`."""
    paths = f"{WITHOUT_TORCH}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    return os.environ | {"PYTHONPATH": paths} | changes
