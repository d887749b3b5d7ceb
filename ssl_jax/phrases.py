"""Joins words that belong together by `_`, for Word2Vec to learn them as one: `new york` becomes `new_york`.

    python -m ssl_jax.phrases --input=text.txt --output=phrases.txt --threshold=200

A document a line; words are what stands between spaces, as for word2phrase: punctuation and capitals are the user's to
take out before. The result is read with `config.method.split="spaces"`.
"""


from absl import flags

from ssl_jax import paths
from ssl_jax.data import phrases, text
from ssl_jax.run import command_line

FLAGS = flags.FLAGS


def main() -> int:
    source = text.load(FLAGS.input, "train")

    def documents():
        return (str(source[i]["text"]).split() for i in range(len(source)))

    counts, total = phrases.count(documents(), FLAGS.min_count)
    found = set()
    with open(paths.output(FLAGS.output), "w", encoding="utf-8") as file:
        options = {"min_count": FLAGS.min_count, "threshold": FLAGS.threshold}
        for words in phrases.join(documents(), counts, total, **options):
            file.write(" ".join(words) + "\n")
            found.update(word for word in words if "_" in word)
    print(f"{FLAGS.output}: {len(source):,} documents, {len(found):,} phrases")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("input", None, "A text file with a document a line.", required=True)
    flags.DEFINE_string("output", None, "The file to write.", required=True)
    flags.DEFINE_float("threshold", 100.0, "The larger, the fewer phrases.")
    flags.DEFINE_integer("min_count", 5, "Words and pairs that come less often are in no phrase.", lower_bound=1)
    command_line.run(main)
