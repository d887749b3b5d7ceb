"""The whole encoder trained on the labels, see `evaluation/finetune.py`; from random weights as the baseline."""

from ssl_jax.evaluation.finetune import finetune

TITLE, NEEDS = "fine-tuned", frozenset({"label"})


def run(context) -> list[dict]:
    """Top-1 of the untrained and the trained encoder after fine-tuning with `config.eval.finetune`."""
    task, rows = context.finetune(), int((context.test.labels >= 0).sum())
    return [
        context.row("finetune", kind, finetune(task, kind, context.seed), rows)
        for kind in ("random", "encoder")
    ]
