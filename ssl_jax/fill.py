"""Fills in the words that [MASK] hides, by a run of BERT.

    python -m ssl_jax.fill --workdir=runs/bert "the cat [MASK] on the mat"
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from ssl_jax import methods
from ssl_jax.paths import expand
from ssl_jax.run import command_line, facts, workdir
from ssl_jax.run.restore import load_model
from ssl_jax.train import parallel

FLAGS = flags.FLAGS


def fill(directory: Path, text: str, count: int = 5, checkpoint: str = "latest") -> list[list[tuple[str, float]]]:
    """For each [MASK] of a text the likeliest tokens and their probabilities, the likeliest first.

    Raises:
      ValueError: the run is not one of BERT, or the text has no [MASK].
    """
    config, known = workdir.read_config(directory), facts.read(directory)
    if config.method.name != "bert":
        raise ValueError(f"{directory} is a run of {config.method.name!r}; expected one of 'bert'")
    bert = methods.load("bert")
    tokenizer = bert.tokenizer_of(known)
    ids = tokenizer.encode(f"[CLS] {text} [SEP]", add_special_tokens=False).ids
    places = np.flatnonzero(np.array(ids) == tokenizer.token_to_id("[MASK]"))
    if not len(places) or len(ids) > config.model.positions:
        raise ValueError(
            f"{text[:60]!r} has {len(places)} [MASK] in {len(ids)} tokens; expected one or more in at most "
            f"{config.model.positions}"
        )
    model = load_model(directory, parallel.make("shard_map", 1, 1).replicated, checkpoint)
    logits = jax.jit(bert.logits(config, known))(model["params"], jnp.array([ids]))[0][places]
    shares = np.asarray(jax.nn.softmax(logits, axis=-1))
    best = np.argsort(-shares, axis=1)[:, :count]
    return [
        [(tokenizer.id_to_token(int(token)), float(row[token])) for token in told]
        for row, told in zip(shares, best, strict=True)
    ]


def main(text: str = "") -> int:
    if not text:
        raise ValueError('No text was given; write one behind the flags, such as "the cat [MASK] on the mat"')
    told_of_places = fill(expand(FLAGS.workdir), text, FLAGS.count, FLAGS.checkpoint)
    for number, told in enumerate(told_of_places, start=1):
        print(f"[MASK] {number}: " + "   ".join(f"{token} {100 * share:.1f} %" for token, share in told))
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Directory of a run of BERT.", required=True)
    flags.DEFINE_integer("count", 5, "How many tokens a place.", lower_bound=1)
    flags.DEFINE_string("checkpoint", "latest", "latest, best (where config.train.keep_best), or a step.")
    command_line.run(main, arguments=1)
