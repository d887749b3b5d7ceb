"""What Word2Vec computes once from the counts of words: which are kept, which are drawn as negatives, a Huffman tree.

Official code: tmikolov/word2vec, word2vec.c. NumPy alone, on the host.
"""

import numpy as np


def keep_probabilities(counts: np.ndarray, threshold: float) -> np.ndarray:
    """The share of each word's places that sub-sampling keeps, `sqrt(t / f) + t / f`, at most 1, float64 [V].

    That is the formula of the code; the paper has `sqrt(t / f)` (arXiv 1310.4546, eq. 5). `f` is the share of the word
    among all places, ends of sentences included; threshold 0 keeps all.

    >>> keep_probabilities(np.array([1, 1, 98]), 0.01).round(4).tolist()
    [1.0, 1.0, 0.1112]
    """
    if threshold == 0:
        return np.ones(len(counts))
    ratio = threshold * counts.sum() / counts
    return np.minimum(np.sqrt(ratio) + ratio, 1)


def negative_thresholds(counts: np.ndarray, power: float) -> np.ndarray:
    """Cumulated shares of the drawn negatives, `counts ** power`, as uint32 [V]: 32 random bits are below id's first.

    Word 0, the end of a sentence, is never drawn: as in the code, its share goes to all other words evenly.

    >>> negative_thresholds(np.array([1, 1, 1]), 1.0).tolist()  # shares 0, 1/2, 1/2
    [0, 2147483648, 4294967295]
    """
    weights = np.asarray(counts, np.float64) ** power
    shares = weights / weights.sum()
    shares[1:] += shares[0] / (len(shares) - 1)
    shares[0] = 0
    return np.minimum(np.floor(np.cumsum(shares) * 2.0**32 + 0.5), 2**32 - 1).astype(np.uint32)


def huffman(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Huffman tree of words whose counts, but for word 0, fall.

    Returns:
      `nodes` int32 [V, P], the inner nodes from the root to each word, of 0 ... V - 2 (the root is V - 2), padded by 0;
      `codes` int8 [V, P], the branch taken at each of them, padded by -1.

    >>> nodes, codes = huffman(np.array([4, 2, 1, 1]))
    >>> codes.tolist(), nodes[3].tolist()
    ([[1, -1, -1], [0, 1, -1], [0, 0, 1], [0, 0, 0]], [2, 1, 0])
    """
    size = len(counts)
    weight = np.concatenate([np.asarray(counts, np.int64), np.full(size - 1, 1 << 60)]).tolist()
    parent, branch = [0] * (2 * size - 1), [0] * (2 * size - 1)
    word, inner = size - 1, size  # the lightest word and the lightest inner node that have no parent yet

    def lightest():
        nonlocal word, inner
        if word >= 0 and weight[word] < weight[inner]:
            word -= 1
            return word + 1
        inner += 1
        return inner - 1

    for made in range(size, 2 * size - 1):
        first, second = lightest(), lightest()
        weight[made] = weight[first] + weight[second]
        parent[first] = parent[second] = made
        branch[second] = 1
    paths = []
    for leaf in range(size):
        path, node = [], leaf
        while node != 2 * size - 2:
            path.append((parent[node] - size, branch[node]))
            node = parent[node]
        paths.append(path[::-1])
    lengths = np.array([len(path) for path in paths])
    nodes = np.zeros((size, lengths.max()), np.int32)
    codes = np.full(nodes.shape, -1, np.int8)
    inside = np.arange(lengths.max()) < lengths[:, None]
    nodes[inside], codes[inside] = np.array([step for path in paths for step in path]).T
    return nodes, codes


def slower(counts, method, tokens: int, nodes, codes) -> dict[str, np.ndarray]:
    """What the gradients of the rows of each table are multiplied by, for sums over batches to be stable.

    The updates of a batch are added up, all from where their rows stood before it. A row that comes hundreds of times,
    such as the root of the tree, would jump far beyond where one update after another brings it. One that is expected
    more than `method.most_repeats` times in a batch, sub-sampling counted, moves as far as if it came that often.

    Args:
      counts: int64 [V], of the words.
      method: `sample`, `most_repeats`; 0 leaves all as it is.
      tokens: places of a batch, before sub-sampling.
      nodes, codes: of `huffman`, or None.
    """
    expected = {"inputs": tokens * counts / counts.sum() * keep_probabilities(counts, method.sample)}
    expected["outputs"] = expected["inputs"]
    if nodes is not None:
        visits = np.where(codes >= 0, expected["inputs"][:, None], 0)
        expected["nodes"] = np.bincount(nodes.ravel(), visits.ravel(), minlength=len(counts) - 1)
    most = method.most_repeats or np.inf
    return {name: np.minimum(1, most / np.maximum(times, 1e-9)).astype(np.float32) for name, times in expected.items()}
