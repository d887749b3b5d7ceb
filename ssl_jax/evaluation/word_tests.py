"""What vectors of words know: analogies by the rules of word2vec's compute-accuracy.c, and similarities of pairs."""


import numpy as np

from ssl_jax.paths import expand

SEMANTIC = 5  # the first sections of questions-words.txt are of meaning, the others of grammar
QUESTIONS = 256  # that are scored at a time


def upper_ids(words: list[str]) -> dict[str, int]:
    """Word in capitals -> id; of words that differ in capitals alone the commonest, which comes first."""
    found = {}
    for i, word in enumerate(words):
        found.setdefault(word.upper(), i)
    return found


def read_analogies(path) -> dict[str, list[tuple[str, ...]]]:
    """The questions `a b c d` of each section, `: name`, of a file such as questions-words.txt.

    Raises:
      ValueError: no such file, or a line of another form.
    """
    sections = {}
    for number, line in enumerate(_lines(path, "questions"), 1):
        name, *rest = line.split()
        if name == ":" and rest:
            questions = sections.setdefault(" ".join(rest), [])
        elif len(rest) == 3 and sections:
            questions.append((name, *rest))
        else:
            raise ValueError(f"Line {number} of {path} is {line!r}; expected `: section`, and below it `a b c d`")
    return sections


def analogies(words: list[str], vectors: np.ndarray, sections: dict) -> dict[str, tuple[int, int, int]]:
    """`section -> (right, asked, all)`: the word nearest to b - a + c, but for the three, should be d.

    Vectors are brought to unit length; b - a + c is not. Case is ignored. Questions with an unknown word are not asked.
    A word counts as nearest where its product with b - a + c is above 0.
    """
    ids = upper_ids(words)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    shown = np.array(sorted(ids.values()))  # one word for each spelling in capitals
    place = {int(i): k for k, i in enumerate(shown)}
    unit, found = unit[shown], {}
    for name, questions in sections.items():
        known = [[ids.get(word.upper(), -1) for word in question] for question in questions]
        asked = np.array([[place[i] for i in question] for question in known if min(question) >= 0], int).reshape(-1, 4)
        right = 0
        for part in np.split(asked, range(QUESTIONS, len(asked), QUESTIONS)):
            a, b, c, d = part.T
            scores = (unit[b] - unit[a] + unit[c]) @ unit.T
            np.put_along_axis(scores, part[:, :3], -np.inf, axis=1)
            right += int(np.sum((scores.argmax(1) == d) & (scores.max(1, initial=0) > 0)))
        found[name] = (right, len(asked), len(questions))
    return found


def read_pairs(path) -> list[tuple[str, str, float]]:
    """Pairs of words and how alike people find them, tab-separated, such as WordSim-353; `#` begins a comment."""
    pairs = []
    for number, line in enumerate(_lines(path, "pairs"), 1):
        if line.startswith("#"):
            continue
        parts = line.split("\t")
        try:
            pairs.append((parts[0], parts[1], float(parts[2])))
        except (IndexError, ValueError) as error:
            raise ValueError(f"Line {number} of {path} is {line!r}; expected words and number, by tabs") from error
    return pairs


def similarities(words: list[str], vectors: np.ndarray, pairs: list) -> dict[str, float]:
    """Spearman's and Pearson's correlation of cosines with the given numbers, over known pairs, and their share.

    Raises:
      ValueError: fewer than three pairs are known.
    """
    ids = upper_ids(words)
    upper = [(a.upper(), b.upper(), score) for a, b, score in pairs]
    known = [(ids[a], ids[b], score) for a, b, score in upper if a in ids and b in ids]
    if len(known) < 3:
        raise ValueError(f"The vocabulary has {len(known)} of {len(pairs)} pairs; expected at least 3; take more text")
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    a, b = (np.array([pair[k] for pair in known]) for k in (0, 1))
    cosines, given = np.sum(unit[a] * unit[b], axis=1), np.array([pair[2] for pair in known])
    return {
        "spearman": float(np.corrcoef(ranks(cosines), ranks(given))[0, 1]),
        "pearson": float(np.corrcoef(cosines, given)[0, 1]), "coverage": len(known) / len(pairs),
    }  # fmt: skip


def ranks(values) -> np.ndarray:
    """Places in rising order, float64, equal values at the mean of theirs.

    >>> ranks([3.0, 1.0, 3.0, 0.5]).tolist()
    [2.5, 1.0, 2.5, 0.0]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def nearest(words: list[str], vectors: np.ndarray, word: str, count: int = 10) -> list[tuple[str, float]]:
    """The words with the largest cosine with a word, and their cosines.

    Raises:
      ValueError: the word is not in the vocabulary; names the nearest in spelling.
    """
    import difflib

    if word not in words:
        near = difflib.get_close_matches(word, words, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{word!r} is not among the {len(words):,} words of the vocabulary{hint}")
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    cosines = unit @ unit[words.index(word)]
    order = [i for i in np.argsort(-cosines, kind="stable")[: count + 1] if words[i] != word]
    return [(words[i], float(cosines[i])) for i in order[:count]]


def _lines(path, what: str) -> list[str]:
    try:
        text = expand(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"The {what} of {path} cannot be read ({error}); expected a text file in UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
