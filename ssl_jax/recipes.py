"""Lists every recipe of `configs/`, one line each: `configs/simclr.py:digits | paper | published | hardware`.

    python -m ssl_jax.recipes
    python -m ssl_jax.recipes --markdown      the table of the README
"""

import difflib
import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).parent
# In a checkout beside the package, in an installed wheel inside of it.
CONFIGS = next((path for path in (HERE.parent / "configs", HERE / "configs") if (path / "simclr.py").exists()), HERE)


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


def markdown(folder: Path = CONFIGS) -> str:
    """The table of the README: a line for each paper or source of each config file, with its recipes and numbers."""
    rows = ["| method | config | source | published |", "|---|---|---|---|"]
    for path in sorted(folder.glob("*.py")):
        by_source = {}
        for name, (_, source, published, _) in config_module(path).RECIPES.items():
            by_source.setdefault(source, []).append((name, published))
        for i, (source, recipes) in enumerate(by_source.items()):
            method = f"[{path.stem}](ssl_jax/methods/{path.stem}.py)" if i == 0 else ""
            named = ", ".join(f"`{name}`" for name, _ in recipes)
            own = "sized for 2 CPU cores, or one GPU" if source == "-" else source
            rows.append(f"| {method} | `configs/{path.name}:` {named} | {own} | {', '.join(p for _, p in recipes)} |")
    return "\n".join(rows)


def get_config(recipe: str):
    """The config of a recipe by its short name, `get_config("simclr:digits")`, locked.

    Raises:
      ValueError: there is no such config file or recipe; names the nearest.
    """
    method, _, name = recipe.partition(":")
    files = {path.stem: path for path in CONFIGS.glob("*.py")}
    if method not in files:
        nearest = difflib.get_close_matches(method, files, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"the methods are {', '.join(sorted(files))}"
        raise ValueError(f"There is no config file for {method!r}; {hint}")
    return config_module(files[method]).get_config(*[name] if name else [])


def main() -> None:
    if sys.argv[1:] not in ([], ["--markdown"]):
        given = " ".join(sys.argv[1:])
        sys.exit(f"error: {given} was given; python -m ssl_jax.recipes takes --markdown, or nothing")
    print(markdown() if "--markdown" in sys.argv[1:] else "\n".join(lines()))


if __name__ == "__main__":
    main()
