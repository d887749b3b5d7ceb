"""Word2Vec against gensim: words a second and what the vectors know, in turns, on the same machine and text.

    python -m benchmarks.word2vec --text=FILE --pairs=wordsim353.tsv --questions=questions-words.txt --seeds=3

Skip-gram of 100 dimensions, window 5, 5 negatives, sub-sampling at 1e-3, words that come 5 times. Words are those of
the text, before sub-sampling, rare ones counted; compiling, and building the vocabulary, are not timed. Both sets of
vectors are scored by `ssl_jax.evaluation.word_tests`, beside random ones. Needs gensim.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import jax
import numpy as np

from ssl_jax import methods
from ssl_jax.data import pipeline, sources
from ssl_jax.evaluation import word_tests
from ssl_jax.methods.parts import text
from ssl_jax.recipes import get_config
from ssl_jax.run import facts
from ssl_jax.train import experiment


def ours(source, epochs: int, seed: int, batch_size: int):
    """Seconds of training, the words, and their vectors before and after it."""
    config = get_config("word2vec:enwiki_cpu").unlock()
    config.seed, config.train.epochs, config.train.batch_size, config.parallel.devices = seed, epochs, batch_size, 1
    known = facts.gather(None, config, source)
    rows = methods.read(source, config, known, train=True)
    batches = pipeline.Batches(rows, batch_size=batch_size, seed=seed)
    run = experiment.build(config, batches[0], examples=len(rows), facts=known)
    run.step(run.create(), run.parallel.place(batches[0]))  # compiles
    state, stream = run.create(), batches.iterate()
    words, before = run.method.words(jax.device_get(state.params))
    begin = time.perf_counter()
    for _ in range(run.steps):
        state, _ = run.step(state, run.parallel.place(next(stream)))
    jax.block_until_ready(state.params)
    seconds = time.perf_counter() - begin
    stream.close()
    return seconds, words, {"random": before, "ssl_jax": jax.device_get(state.params["inputs"])}


def gensims(sentences: list, epochs: int, seed: int, workers: int):
    """Seconds of training, the words and their vectors."""
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=100, window=5, min_count=5, sg=1, negative=5, sample=1e-3, alpha=0.025, min_alpha=2.5e-6,
        workers=workers, seed=seed,
    )  # fmt: skip
    model.build_vocab(sentences)
    begin = time.perf_counter()
    model.train(sentences, total_examples=model.corpus_count, epochs=epochs)
    return time.perf_counter() - begin, model.wv.index_to_key, model.wv.vectors


def scores(words, vectors, asked) -> dict[str, float]:
    """Spearman's correlation, the share of right analogies, and the coverage of both, in percent."""
    vectors = np.asarray(vectors)
    found = word_tests.similarities(words, vectors, word_tests.read_pairs(asked.pairs))
    counts = word_tests.analogies(words, vectors, word_tests.read_analogies(asked.questions)).values()
    right, known, everything = (sum(count[k] for count in counts) for k in range(3))
    return {
        "spearman": found["spearman"], "pairs known": found["coverage"], "analogies": right / max(known, 1),
        "questions known": known / everything,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", required=True, help="a file with one sentence or document a line")
    parser.add_argument("--pairs", required=True, help="WordSim-353, tab-separated")
    parser.add_argument("--questions", required=True, help="questions-words.txt")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=8, help="rows of 256 words")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="threads of gensim")
    parser.add_argument("--output", type=Path, help="a JSON file")
    asked = parser.parse_args()
    source = sources.load(f"text:{asked.text}", "train")
    split = text.splitter("words")
    sentences = [split(str(source[i]["text"])) for i in range(len(source))]
    raw = asked.epochs * sum(map(len, sentences))
    rows = []
    for seed in range(asked.seeds):
        seconds, words, found = ours(source, asked.epochs, seed, asked.batch_size)
        of_gensim, its_words, its_vectors = gensims(sentences, asked.epochs, seed, asked.workers)
        rows.append({"seed": seed, "system": "random", **scores(words, found["random"], asked)})
        for system, time_, listed, vectors in (
            ("ssl_jax", seconds, words, found["ssl_jax"]), ("gensim", of_gensim, its_words, its_vectors),
        ):  # fmt: skip
            rows.append({"seed": seed, "system": system, "words/s": raw / time_, **scores(listed, vectors, asked)})
        for row in rows[-3:]:
            print(json.dumps(row), flush=True)
    for system in ("random", "ssl_jax", "gensim"):
        of = [row for row in rows if row["system"] == system]
        means = {name: statistics.mean(row[name] for row in of) for name in of[0] if name not in ("seed", "system")}
        print(f"{system:<9}" + "  ".join(f"{name} {value:,.3f}" for name, value in means.items()))
    if asked.output:
        asked.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
