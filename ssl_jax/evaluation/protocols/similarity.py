"""How alike people find two words, against the cosine of their vectors, such as on WordSim-353."""

from ssl_jax.evaluation import word_tests

TITLE, NEEDS = "similarities", frozenset({"words", "similarities"})


def run(context) -> list[dict]:
    """Spearman's and Pearson's correlation over the pairs in the vocabulary, and the share of those pairs."""
    pairs, rows = word_tests.read_pairs(context.files["similarities"]), []
    for kind in ("random", "encoder"):
        found = word_tests.similarities(*context.words(kind), pairs)
        known = round(found["coverage"] * len(pairs))
        for name, value in found.items():
            n = len(pairs) if name == "coverage" else known
            rows.append(context.row("similarity", kind, value, n, metric=name))
    return rows
