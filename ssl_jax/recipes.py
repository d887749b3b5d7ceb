"""Lists every recipe of `configs/`, one line each: `configs/simclr.py:digits | paper | published | hardware`.

    python -m ssl_jax.recipes
"""

import importlib.util
from pathlib import Path

CONFIGS = Path(__file__).parent.parent / "configs"


def config_module(path: Path):
    """The module of a config file, loaded by its path."""
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(folder: Path = CONFIGS) -> list[str]:
    """One line for every recipe of every config file in `folder`."""
    return [
        f"configs/{path.name}:{name} | {paper} | {published} | {hardware}"
        for path in sorted(folder.glob("*.py"))
        for name, (_, paper, published, hardware) in config_module(path).RECIPES.items()
    ]


def main() -> None:
    if not CONFIGS.is_dir():
        raise SystemExit("error: there is no configs folder beside the package; run from a checkout of the repository")
    print("\n".join(lines()))


if __name__ == "__main__":
    main()
