"""A linear classifier of single frames of sound: of the class of their clip, and of who speaks.

Frames are those of the layer asked for, else of the last, `FRAMES` of every clip, evenly spaced over its sound. The
classifier's settings are chosen on the frames of clips held out of the training set. Beside the encoder stand frames of
the log-mel spectrum at the same places. In van den Oord et al. 2018, arXiv 1807.03748, table 1, phones and speakers are
classified so, by the context of every frame.
"""

from functools import partial

import numpy as np

from ssl_jax.evaluation import inputs
from ssl_jax.evaluation.features import shuffled_ranks, spread
from ssl_jax.evaluation.labels import numbered
from ssl_jax.evaluation.linear_probe import linear_probe

TITLE, NEEDS, INPUT = "frame", frozenset({"speaker", "layers"}), "log-mel frames"
FRAMES, HELD_OUT, EPOCHS = 16, 0.2, 30


def run(context) -> list[dict]:
    """Top-1 of the class, where clips have one, and of the speaker, of every kind of features."""
    layer = context.layer or context.layers[-1]
    kinds = {"input": tuple(inputs.frame_rows(source, FRAMES) for source in (context.train, context.test))}
    kinds |= dict(context.inner(layer, partial(spread, count=FRAMES)))
    keys = [key for key in ("label", "speaker") if key in context.has]
    return [
        context.row("frame", kind, top1(*parts, key, context.seed), len(parts[1]["features"]) * FRAMES, metric=key,
                    layer=None if kind == "input" else layer)  # fmt: skip
        for key in keys
        for kind, parts in kinds.items()
    ]


def top1(train: dict, test: dict, key: str, seed: int) -> float:
    """Of `features` `[N, FRAMES, C]` of clips with numbers `key` `[N]`, the share of test frames that are told."""
    train, test, num_classes = numbered(train, test, key)
    ranks = shuffled_ranks(train[key], np.random.default_rng(seed))
    held = ranks < np.round(HELD_OUT * np.bincount(train[key]))[train[key]]

    def frames(part, rows=slice(None)):
        clips = part["features"][rows]
        return clips.reshape(-1, clips.shape[-1]), np.repeat(part[key][rows], clips.shape[1])

    probe = partial(linear_probe, num_classes=num_classes, epochs=EPOCHS, seed=seed)
    chosen = probe(*frames(train, ~held), *frames(train, held), validation=frames(train, held))
    rates, decays = (chosen.learning_rate,), (chosen.weight_decay,)
    return probe(*frames(train), *frames(test), learning_rates=rates, weight_decays=decays).top1
