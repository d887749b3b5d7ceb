"""Word analogies: as `a` is to `b`, so is `c` to which word? By the rules of word2vec's compute-accuracy.c."""

from ssl_jax.evaluation import word_tests

TITLE, NEEDS = "analogies", frozenset({"words", "analogies"})


def run(context) -> list[dict]:
    """The share of right answers in all sections, in those of meaning and of grammar, and in each; and the coverage."""
    sections, rows = word_tests.read_analogies(context.files["analogies"]), []
    for kind in ("random", "encoder"):
        found = word_tests.analogies(*context.words(kind), sections)
        counts = list(found.values())
        groups = {
            "total": counts, "semantic": counts[: word_tests.SEMANTIC], "syntactic": counts[word_tests.SEMANTIC :],
            **{name: [count] for name, count in found.items()},
        }  # fmt: skip
        asked = sum(count[1] for count in counts)
        everything = sum(count[2] for count in counts)
        rows.append(context.row("analogy", kind, asked / max(everything, 1), everything, metric="coverage"))
        for name, group in groups.items():
            right, known = (sum(count[k] for count in group) for k in (0, 1))
            if known:
                rows.append(context.row("analogy", kind, right / known, known, metric=name))
    return rows
