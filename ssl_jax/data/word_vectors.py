"""Files of word vectors in the formats of word2vec: a header `V D`, then each word and its values.

In the text format a line is the word and its values, spaces between. In the binary format the values are float32,
little-endian, behind the word and one space. The C tool ends a word's values with a line end; readers, this one too,
skip it, and take files without it.
"""


import numpy as np

from ssl_jax.paths import expand


def write(path, words: list[str], vectors: np.ndarray, *, binary: bool = False) -> None:
    """Writes vectors `[V, D]` as float32.

    Raises:
      ValueError: words and vectors that are not equally many, or a word that holds white space.
    """
    vectors = np.asarray(vectors, "<f4")
    if vectors.ndim != 2 or len(words) != len(vectors):
        raise ValueError(f"{len(words)} words and vectors {list(vectors.shape)} were given; expected [V, D], V words")
    if bad := [word for word in words if not word or len(word.split()) != 1 or word.split()[0] != word]:
        raise ValueError(f"The word {bad[0]!r} holds white space, which ends a word in this format; write it with '_'")
    with open(path, "wb") as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n".encode())
        for word, vector in zip(words, vectors, strict=True):
            values = vector.tobytes() if binary else " ".join(map(str, vector)).encode()
            file.write(word.encode() + b" " + values + b"\n")


def read(path, *, binary: bool | None = None) -> tuple[list[str], np.ndarray]:
    """Words and vectors float32 `[V, D]` of a file; `binary=None` finds out which format it has.

    Raises:
      ValueError: no such file, or one that is cut off or of another form.
    """
    try:
        content = expand(path).read_bytes()
        header, _, body = content.partition(b"\n")
        count, dim = map(int, header.split())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); expected a file in word2vec's format") from error
    binary = not _is_text(body, dim) if binary is None else binary
    try:
        words, vectors = _read_binary(body, count, dim) if binary else _read_text(body, dim)
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path} is no {'binary' if binary else 'text'} file of word2vec ({error})") from error
    if len(words) != count:
        raise ValueError(f"{path} announces {count} words and holds {len(words)}; get a whole copy of it")
    return words, vectors


def _is_text(body: bytes, dim: int) -> bool:
    first = body.split(b"\n", 1)[0].split()
    try:
        return len(first) == dim + 1 and all(np.isfinite(float(value)) for value in first[1:])
    except ValueError:
        return False


def _read_text(body: bytes, dim: int):
    lines = [line.rstrip(" ").split(" ") for line in body.decode().split("\n") if line]
    vectors = np.array([line[1:] for line in lines], np.float32).reshape(len(lines), dim)
    return [line[0] for line in lines], vectors


def _read_binary(body: bytes, count: int, dim: int):
    words, vectors, at = [], np.empty((count, dim), np.float32), 0
    for i in range(count):
        end = body.index(b" ", at)
        words.append(body[at:end].lstrip(b"\n").decode())
        vectors[i] = np.frombuffer(body, "<f4", dim, end + 1)
        at = end + 1 + 4 * dim
    return words, vectors
