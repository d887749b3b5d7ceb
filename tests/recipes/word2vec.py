"""Word2Vec: what the official code, its scripts and the papers say."""

# tmikolov/word2vec at 20c129a, word2vec.c: -window 5 -negative 5 -sample 1e-3 -min-count 5, alpha 0.025 for skip-gram
# and 0.05 for CBOW, never below a ten-thousandth; counts to the power of 0.75.
CODE = {
    "method.name": "word2vec", "method.power": 0.75, "method.min_count": 5, "method.hierarchical": False,
    "method.window": 5, "method.negatives": 5, "method.sample": 1e-3, "method.split": "spaces", "optim.name": "sgd",
    "optim.momentum": 0, "optim.weight_decay": 0, "optim.schedule": "linear",
}  # fmt: skip
CBOW = CODE | {"method.architecture": "cbow", "learning_rate": 0.05, "optim.end_learning_rate": 5e-6}
SKIP_GRAM = CODE | {"method.architecture": "skip_gram", "learning_rate": 0.025, "optim.end_learning_rate": 2.5e-6}
# arXiv 1310.4546, section 3 and table 1: 300 dimensions, words that come 5 times, sub-sampling at 1e-5.
NEWS = SKIP_GRAM | {"model.dim": 300, "method.sample": 1e-5, "train.epochs": 1}

RECIPES = {
    # demo-word-accuracy.sh: -cbow 1 -size 200 -window 8 -negative 25 -hs 0 -sample 1e-4 -iter 15
    "demo_text8": CBOW | {
        "model.dim": 200, "method.window": 8, "method.negatives": 25, "method.sample": 1e-4, "train.epochs": 15,
    },
    # demo-phrase-accuracy.sh: -cbow 1 -size 200 -window 10 -negative 25 -hs 0 -sample 1e-5 -iter 15
    "demo_phrases": CBOW | {
        "model.dim": 200, "method.window": 10, "method.negatives": 25, "method.sample": 1e-5, "train.epochs": 15,
    },
    # demo-train-big-model-v1.sh: -cbow 1 -size 500 -window 10 -negative 10 -hs 0 -sample 1e-5 -iter 3 -min-count 10
    "demo_big": CBOW | {
        "model.dim": 500, "method.window": 10, "method.negatives": 10, "method.sample": 1e-5, "train.epochs": 3,
        "method.min_count": 10,
    },
    "news_negative_5": NEWS,
    "news_negative_15": NEWS | {"method.negatives": 15},
    "news_hierarchical": NEWS | {"method.negatives": 0, "method.hierarchical": True},
}  # fmt: skip
PUBLISHED = {"demo_big": "78", "news_negative_5": "60", "news_negative_15": "61", "news_hierarchical": "55"}
