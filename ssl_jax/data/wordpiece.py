"""WordPiece, the tokens of BERT: trained on the data, or read from a published vocabulary.

A tokenizer is JSON, the format of the `tokenizers` library, which does the work; it is imported where it is used.
"""

from collections.abc import Iterable

from ssl_jax.paths import expand

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # ids 0 to 4 of a trained vocabulary


def train(texts: Iterable[str], size: int, lower_case: bool = True) -> str:
    """A tokenizer with at most `size` tokens.

    Raises:
      ValueError: fewer tokens than the special ones and the letters of the texts need.

    Source: Schuster & Nakajima 2012; Wu et al. 2016, arXiv 1609.08144, section 4.1.
    """
    from tokenizers import trainers

    if size <= len(SPECIAL):
        raise ValueError(f"A vocabulary of {size} tokens was asked for, but {len(SPECIAL)} are special; raise it")
    tokenizer = _tokenizer(lower_case)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=list(SPECIAL), show_progress=False, continuing_subword_prefix="##"
    )
    tokenizer.train_from_iterator(map(str, texts), trainer)
    if tokenizer.get_vocab_size() > size:
        raise ValueError(
            f"A vocabulary of {size} tokens was asked for, but the letters of the text and the special tokens are "
            f"{tokenizer.get_vocab_size()}; raise it"
        )
    return tokenizer.to_str()


def read(path: str, lower_case: bool = True) -> str:
    """A published vocabulary: `vocab.txt`, a token a line, or `tokenizer.json` of the `tokenizers` library.

    Raises:
      ValueError: there is no such file, it is not of its kind, or it lacks a special token.
    """
    file = expand(path)
    if not file.is_file() or file.suffix not in (".txt", ".json"):
        raise ValueError(f"{path} is no vocabulary; expected vocab.txt, a token a line, or tokenizer.json")
    try:
        text = file.read_text(encoding="utf-8")
        tokens = load(text).get_vocab() if file.suffix == ".json" else text.splitlines()
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{path} cannot be read ({error}); expected a vocabulary in UTF-8, a whole copy") from error
    missing = [token for token in SPECIAL if token not in tokens]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; expected a vocabulary of BERT")
    if file.suffix == ".json":
        return text
    return _tokenizer(lower_case, {token: number for number, token in enumerate(tokens)}).to_str()


def load(json: str):
    """The tokenizer of the `tokenizers` library."""
    import tokenizers

    return tokenizers.Tokenizer.from_str(json)


def _tokenizer(lower_case: bool, vocabulary: dict | None = None):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    model = models.WordPiece(vocabulary or {"[UNK]": 0}, unk_token="[UNK]", max_input_chars_per_word=200)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower_case)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if vocabulary:
        tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer
