"""Prints the words nearest to a word, by the cosine of their vectors, and writes the vectors of a run to a file.

    python -m ssl_jax.neighbours --workdir=runs/word2vec --word=king
    python -m ssl_jax.neighbours --workdir=runs/word2vec --output=vectors.bin      .txt: text, .bin: binary

The formats are those of word2vec, which gensim reads too. `--vectors=FILE` takes such a file in place of a run.
"""

from pathlib import Path

import numpy as np
from absl import flags

from ssl_jax import methods, paths
from ssl_jax.data import word_vectors
from ssl_jax.encoder import load_encoder
from ssl_jax.evaluation import word_tests
from ssl_jax.run import command_line, facts, workdir

FLAGS = flags.FLAGS


def vectors_of(directory: Path, checkpoint: str = "latest") -> tuple[list[str], np.ndarray]:
    """The words of a run and their vectors, float32 `[V, D]`.

    Raises:
      ValueError: the method of the run has no vocabulary.
    """
    config = workdir.read_config(directory)
    method = methods.build(config, facts.read(directory))
    if method.words is None:
        raise ValueError(f"{directory} is a run of {config.method.name}, which has no vectors of words")
    words, vectors = method.words(load_encoder(directory, checkpoint=checkpoint).params)
    return words, np.asarray(vectors, np.float32)


def main() -> int:
    if bool(FLAGS.workdir) == bool(FLAGS.vectors) or not (FLAGS.word or FLAGS.output):
        raise ValueError("Give either --workdir or --vectors, and --word or --output, such as --word=king")
    if FLAGS.output and Path(FLAGS.output).suffix not in (".txt", ".bin"):
        raise ValueError(f"--output is {FLAGS.output}; expected a name that ends in .txt or .bin")
    output = paths.output(FLAGS.output) if FLAGS.output else None
    if FLAGS.vectors:
        words, vectors = word_vectors.read(FLAGS.vectors)
    else:
        words, vectors = vectors_of(paths.expand(FLAGS.workdir), FLAGS.checkpoint)
    if output:
        word_vectors.write(output, words, vectors, binary=FLAGS.output.endswith(".bin"))
        print(f"{FLAGS.output}: {len(words):,} vectors of {vectors.shape[1]} values")
    if FLAGS.word:
        for word, cosine in word_tests.nearest(words, vectors, FLAGS.word, FLAGS.count):
            print(f"{word:<24}{cosine:.3f}")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Directory of a run whose method has a vocabulary.")
    flags.DEFINE_string("vectors", None, "A file in word2vec's text or binary format, in place of a run.")
    flags.DEFINE_string("word", None, "The word whose neighbours are printed.")
    flags.DEFINE_integer("count", 10, "How many neighbours.", lower_bound=1)
    flags.DEFINE_string("output", None, "A file for all vectors, .txt or .bin.")
    flags.DEFINE_string("checkpoint", "latest", "latest, best, or a step.")
    command_line.run(main)
