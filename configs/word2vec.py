"""Word2Vec: vectors of words that tell which words stand nearby.

    python -m ssl_jax.pretrain --config=configs/word2vec.py:enwiki_cpu --workdir=runs/word2vec

Papers: Mikolov et al. 2013, arXiv 1301.3781 and 1310.4546. Official code: tmikolov/word2vec, word2vec.c; the recipes
`demo` are the settings of its scripts, the recipes `news` those of table 1 of the second paper, with sub-sampling at
1e-5. Published numbers are the share of word analogies that are solved, in percent: `analogy`, all sections together.
Data are text files with one sentence or document a line, such as `text:DIR`; `split="spaces"` leaves words as they
are, as the code does, `split="words"` takes runs of letters in lower case. The published runs update after every pair;
here the pairs of a batch of `batch_size` rows of `method.length` words are added up.

| recipe            | paper, section                  | published | hardware of the published run |
|-------------------|---------------------------------|-----------|-------------------------------|
| demo_text8        | demo-word-accuracy.sh           | -         | 20 threads                    |
| demo_phrases      | demo-phrase-accuracy.sh         | -         | 20 threads                    |
| demo_big          | demo-train-big-model-v1.sh      | 78        | 40 threads                    |
| news_negative_5   | 1310.4546, table 1, t = 1e-5    | 60        | -                             |
| news_negative_15  | 1310.4546, table 1, t = 1e-5    | 61        | -                             |
| news_hierarchical | 1310.4546, table 1, t = 1e-5    | 55        | -                             |
| enwiki_cpu        | none: sized for 2 cores         | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

CODE = "Mikolov et al. 2013, word2vec.c"
PAPER = "Mikolov et al. 2013, arXiv 1310.4546"


def word2vec(architecture: str, dim: int, learning_rate: float, epochs: int, **method) -> ConfigDict:
    """Settings of the code where `method` has no other; the rate falls linearly to a ten-thousandth."""
    options = {
        "architecture": architecture, "negatives": 5, "shared_negatives": 64, "hierarchical": False, "window": 5,
        "sample": 1e-3, "power": 0.75, "min_count": 5, "split": "spaces", "length": 256, "document_length": 64,
        "most_repeats": 16,
    }  # fmt: skip
    config = defaults.experiment("word2vec", **options | method)
    config.model = ConfigDict({"dim": dim})
    config.data.update(source="text:data/text8", canvas=0, workers=0)
    config.train.update(batch_size=8, epochs=epochs, log_every=200, checkpoint_every=20_000)
    config.optim = defaults.optim(
        "sgd", learning_rate, scaling="none", momentum=0.0, schedule="linear", end_learning_rate=1e-4 * learning_rate
    )
    config.eval.update(train_split="train", test_split="train", protocols=("analogy", "similarity"))
    return config


def demo_text8() -> ConfigDict:
    """CBOW on the first 100 MB of Wikipedia; the script evaluates the 30,000 commonest words."""
    return word2vec("cbow", 200, 0.05, 15, window=8, negatives=25, sample=1e-4)


def demo_phrases() -> ConfigDict:
    """CBOW on news of 2012 in which phrases are one word, joined by `_`."""
    config = word2vec("cbow", 200, 0.05, 15, window=10, negatives=25, sample=1e-5)
    config.data.source = "text:data/news_phrases"
    return config


def demo_big() -> ConfigDict:
    """CBOW on 8 billion words of news, Wikipedia and the web, with phrases."""
    config = word2vec("cbow", 500, 0.05, 3, window=10, negatives=10, sample=1e-5, min_count=10)
    config.data.source = "text:data/words_8b"
    return config


def news(**method) -> ConfigDict:
    """Skip-gram on a billion words of news, 692,000 of which come five times; one epoch."""
    config = word2vec("skip_gram", 300, 0.025, 1, sample=1e-5, **method)
    config.data.source = "text:data/news_1b"
    return config


def enwiki_cpu() -> ConfigDict:
    """Skip-gram in minutes on 2 CPU cores; data: `text:DIR` or `text:FILE`."""
    config = word2vec("skip_gram", 100, 0.025, 15, split="words")
    config.data.source = "text:data/enwiki"
    return config


def tiny() -> ConfigDict:
    """The smallest run, on generated sentences: 5 steps of 16 rows."""
    config = word2vec("skip_gram", 8, 0.025, 0, window=2, shared_negatives=6, sample=1e-2, min_count=2, length=16)
    config.method.document_length = 16
    config.data.source = "synthetic_text"
    config.train.update(batch_size=16, steps=5, log_every=1, checkpoint_every=0)
    config.eval.update(test_split="test", protocols=("knn", "linear"))
    return config


# name: (config, paper, published share of analogies in percent, hardware)
RECIPES = {
    "demo_text8": (demo_text8, CODE, "-", "20 threads"),
    "demo_phrases": (demo_phrases, CODE, "-", "20 threads"),
    "demo_big": (demo_big, CODE, "78", "40 threads"),
    "news_negative_5": (news, PAPER, "60", "-"),
    "news_negative_15": (lambda: news(negatives=15), PAPER, "61", "-"),
    "news_hierarchical": (lambda: news(negatives=0, hierarchical=True), PAPER, "55", "-"),
    "enwiki_cpu": (enwiki_cpu, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "enwiki_cpu") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/word2vec.py:enwiki_cpu`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
