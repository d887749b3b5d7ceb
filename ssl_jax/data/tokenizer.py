"""Byte-level BPE, the tokens of captions: trained on the data, or read from a published vocabulary.

A tokenizer is JSON, the format of the `tokenizers` library, which does the work; it is imported where it is used.
"""

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ssl_jax.paths import expand

START, END = "<|startoftext|>", "<|endoftext|>"  # the last two tokens of CLIP's vocabulary
ENDS = (END, "</s>")  # the second: of vocabularies made by sentencepiece, such as SigLIP's
SMALLEST = 2 * 256 + 2  # every byte, every byte at the end of a word, start and end
# Words, single digits, and runs of anything else; what is between them is space.
WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True)
class Tokenizer:
    """Turns a text into `[start, words, end, end, ...]`, int32 [length].

    Places behind the end are filled with the end: CLIP's text tower never looks behind the first, and SigLIP's reads
    its feature at the last place.

    Args:
      json: the vocabulary, as `train` and `read` return it.
      length: of the result.

    >>> tokens = Tokenizer(train(["a dog", "a cat"], 520), length=8)("A  dog", truncate=False)
    >>> tokens.shape, int(tokens[0]), int(tokens[-1])
    ((8,), 516, 517)
    """

    json: str
    length: int

    @cached_property
    def _library(self):
        import tokenizers

        made = tokenizers.Tokenizer.from_str(self.json)
        made.no_truncation()  # which files may ask for, to a length of their own and without the end
        made.no_padding()
        return made

    @cached_property
    def size(self) -> int:
        """The number of rows of a table of the tokens: one more than the largest of them."""
        return 1 + max(self._library.get_vocab().values())

    @cached_property
    def end(self) -> int:
        """The token at the end of a text.

        Raises:
          ValueError: the vocabulary has none.
        """
        found = [number for number in map(self._library.token_to_id, ENDS) if number is not None]
        if not found:
            raise ValueError(f"The vocabulary has neither {' nor '.join(ENDS)}; expected a token for the end of a text")
        return found[0]

    def count_longer(self, texts: Sequence[str]) -> int:
        """How many of the texts have more tokens than there are places, so that they are cut."""
        most = self.length - 1 - (self._library.token_to_id(START) is not None)
        return sum(len(one.ids) > most for one in self._library.encode_batch(list(texts), add_special_tokens=False))

    def __call__(self, text: str, *, truncate: bool) -> np.ndarray:
        """The tokens of a text; where it is too long, `truncate` cuts it, and its last token is still the end.

        Raises:
          ValueError: it is too long, and `truncate` is False; or the vocabulary has no token for the end of a text.
        """
        start, end = self._library.token_to_id(START), self.end
        ids = self._library.encode(str(text), add_special_tokens=False).ids
        ids = ([] if start is None else [start]) + ids
        if len(ids) >= self.length and not truncate:
            raise ValueError(
                f"The text {text[:40]!r}... has {len(ids) + 1} tokens; expected at most {self.length}, the positions "
                "of the text tower; shorten it"
            )
        ids = ids[: self.length - 1]
        return np.array(ids + [end] * (self.length - len(ids)), np.int32)


def train(texts: Iterable[str], vocabulary: int) -> str:
    """A tokenizer with at most `vocabulary` tokens, whose merges are the most frequent of the texts.

    Raises:
      ValueError: fewer tokens than bytes need.

    Source: Sennrich et al. 2016, arXiv 1508.07909; on bytes: Radford et al. 2019, section 2.2.
    """
    from tokenizers import trainers

    if vocabulary < SMALLEST:
        raise ValueError(f"A vocabulary of {vocabulary} tokens was asked for; bytes alone need {SMALLEST}; raise it")
    tokenizer = _byte_level([])
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, end_of_word_suffix="</w>", initial_alphabet=_alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(map(str, texts), trainer)
    merges = [tuple(pair) for pair in _held(tokenizer)["model"]["merges"]]
    return _byte_level(merges[: vocabulary - SMALLEST]).to_str()


def read(path: str) -> str:
    """A published vocabulary: `tokenizer.json` of the `tokenizers` library, or the merges of CLIP's authors, `.txt.gz`.

    Raises:
      ValueError: there is no such file, or it holds neither, or is damaged.
    """
    file = expand(path)
    if not file.is_file() or not file.name.endswith((".json", ".txt.gz")):
        raise ValueError(
            f"{path} is no vocabulary; expected a file tokenizer.json, or bpe_simple_vocab_16e6.txt.gz of openai/CLIP"
        )
    try:
        if file.suffix == ".json":
            return whole(file)
        # The first line is a remark; the official code keeps as many merges as make 49,152 tokens, and adds two.
        lines = gzip.decompress(file.read_bytes()).decode("utf-8").split("\n")[1 : 49_152 - 512 + 1]
        return _byte_level([tuple(line.split()) for line in lines if line]).to_str()
    except Exception as error:  # what gzip, its decoder and the library say of damaged files
        raise ValueError(f"{path} cannot be read ({error}); get a whole copy of it") from error


def whole(file: Path) -> str:
    """The text of a tokenizer.json, which the `tokenizers` library has read once: it raises of what it cannot."""
    import tokenizers

    text = file.read_text(encoding="utf-8")
    tokenizers.Tokenizer.from_str(text)
    return text


def _byte_level(merges: list[tuple[str, str]]):
    """CLIP's tokenizer with these merges: tokens are bytes, bytes at the end of a word, merges, start, end."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    letters = _alphabet()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=END))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.add_special_tokens([START, END])
    return tokenizer


def _alphabet() -> list[str]:
    """The 256 letters that stand for bytes, in the order of CLIP's vocabulary: those that can be printed come first."""
    printed = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(byte) for byte in printed] + [chr(256 + number) for number in range(256 - len(printed))]


def _held(tokenizer) -> dict:
    import json

    return json.loads(tokenizer.to_str())
