"""Pictures of text for the report: what a network tells of hidden tokens, and which tokens attend to which."""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.methods.api import Heatmap, Table

ROWS, AROUND, BEST = 10, 9, 5  # hidden tokens of the table, tokens on each side, guesses
LONGEST = 24  # tokens whose attention is shown
ASKED = "____"


def fill_ins(tokenizer, batch, shares) -> Table:
    """A hidden token of each row, the text around it, and the likeliest tokens.

    Args:
      tokenizer: of the `tokenizers` library.
      batch: `tokens` int `[b, T]` with hidden ones; of each row `places` int `[b, P]`, what stands there, `target`,
        whether it counts, `counts`, and whether it is [MASK], `masked`, all `[b, P]`.
      shares: `[b, P, V]`, the probability of every token at those places.
    """
    batch = {name: np.asarray(rows) for name, rows in batch.items()}
    rows, padding = [], tokenizer.token_to_id("[PAD]")
    for i in range(min(ROWS, len(batch["tokens"]))):
        hidden = batch["masked"][i] * 2 + batch["counts"][i]
        if not hidden.any():
            continue
        p = int(np.argmax(hidden))
        place, tokens = int(batch["places"][i, p]), batch["tokens"][i]
        pieces = [
            ASKED if at == place else tokenizer.id_to_token(int(tokens[at]))
            for at in range(max(0, place - AROUND), min(len(tokens), place + AROUND + 1)) if tokens[at] != padding
        ]  # fmt: skip
        best = np.argsort(-np.asarray(shares[i, p]), kind="stable")[:BEST]
        told = ", ".join(f"{tokenizer.id_to_token(int(one))} {100 * float(shares[i, p, one]):.0f} %" for one in best)
        rows.append((_joined(pieces), tokenizer.id_to_token(int(batch["target"][i, p])), told))
    return Table(("text", "hidden", "likeliest"), rows)


def attention_maps(encoder, tokenizer, params, tokens, segments) -> dict[str, Heatmap]:
    """The attention of the first and the last block in one text, see `attention`; a row is a token that attends.

    Each row is stretched, from its smallest value, 0, to its largest, 1.

    Args:
      encoder: of `models/bert.py`; params: its parameters.
      tokens, segments: int `[T]` of one text, without padding.
    """
    tokens, segments = (jnp.asarray(ids)[None, :LONGEST] for ids in (tokens, segments))
    names = [tokenizer.id_to_token(int(token)) for token in tokens[0]]
    found = attention(encoder, params, tokens, segments)[0].mean(axis=1)
    low, high = found.min(axis=-1, keepdims=True), found.max(axis=-1, keepdims=True)
    found = np.asarray((found - low) / jnp.maximum(high - low, 1e-9))
    return {f"attention in block {i + 1}": Heatmap(found[i], names, names) for i in sorted({0, len(found) - 1})}


def attention(encoder, params, tokens, segments):
    """The attention of every block and head of an encoder, float `[b, depth, heads, T, T]`; rows add up to 1.

    They are computed again from queries and keys: the layers themselves do not keep them.

    Args:
      encoder: of `models/bert.py`; params: its parameters.
      tokens, segments: int `[b, T]` without padding.
    """
    _, held = encoder.clone(remat=False).apply(
        {"params": params}, tokens, segments, mutable=["intermediates"],
        capture_intermediates=lambda module, _: module.name == "qkv",
    )  # fmt: skip

    def weights(block):
        qkv = held["intermediates"][block]["attention"]["qkv"]["__call__"][-1]
        parts = qkv.reshape(*tokens.shape, 3, encoder.heads, -1)
        parts = parts.astype(jnp.promote_types(parts.dtype, jnp.float32))
        logits = jnp.einsum("bqhd,bkhd->bhqk", parts[:, :, 0], parts[:, :, 1], precision="highest")
        return jax.nn.softmax(logits * parts.shape[-1] ** -0.5, axis=-1)

    return jnp.stack([weights(f"block_{i + 1}") for i in range(encoder.depth)], axis=1)


def _joined(pieces: list[str]) -> str:
    """Tokens as text: the pieces of a word stand together.

    >>> _joined(["[CLS]", "un", "##like", "##ly", "____", "##s"])
    '[CLS] unlikely ____ ##s'
    """
    text = ""
    for i, piece in enumerate(pieces):
        joins = piece.startswith("##") and i and not pieces[i - 1].startswith(("[", ASKED))
        text += piece.removeprefix("##") if joins else f" {piece}"
    return text.strip()
