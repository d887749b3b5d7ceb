"""Prints `docs/config.md`: every common config key, its default and what it may be.

    python -m ssl_jax.defaults.document > docs/config.md
"""

from ssl_jax import defaults
from ssl_jax.defaults import check

TITLES = {
    "": "Of the whole run", "data": "config.data", "train": "config.train", "optim": "config.optim",
    "group": "config.optim.groups.NAME", "parallel": "config.parallel", "eval": "config.eval",
    "finetune": "config.eval.finetune",
    "augment": "config.augment, of image methods",
}  # fmt: skip


def sections() -> dict[str, tuple[dict, dict]]:
    """Section -> (defaults, rules)."""
    config = defaults.experiment("")
    group = defaults.optim("sgd", 0.1).groups.vectors
    general = {name: config[name] for name in check.GENERAL}
    held = {name: (config[name], rules) for name, rules in check.SECTIONS.items()}
    held |= {"finetune": (defaults.FINETUNE, check.FINETUNE), "group": (group, check.GROUP)}
    return {"": (general, check.GENERAL), **held, "augment": (defaults.VIEW, check.VIEW)}


def document() -> str:
    """The text of docs/config.md."""
    lines = [
        "# Config keys",
        "",
        "Made by `python -m ssl_jax.defaults.document`. `--config.train.batch_size=512` sets a key from the command",
        "line. `config.method` is described in the method's file and in its config file.",
    ]
    for name, (held, rules) in sections().items():
        lines += ["", f"## {TITLES[name]}", "", "| key | default | may be |", "|---|---|---|"]
        lines += [f"| `{key}` | `{held[key]!r}` | {rule.says} |" for key, rule in rules.items()]
    for name, rules in check.MODELS.items():
        lines += ["", f"## config.model of name {name!r}", "", "| key | may be |", "|---|---|"]
        lines += [f"| `{key}` | {rule.says} |" for key, rule in rules.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
