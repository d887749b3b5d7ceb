"""Which tokens of a text are hidden, and by what: the pretext task of BERT."""

import jax
import jax.numpy as jnp
from jax import lax


def choose_places(key, words, share: float, most: int, *, rounding: str = "nearest"):
    """Places of one row that are to be predicted, whole words at a time.

    `n = min(most, max(1, round(share L)))` of the L tokens that are not padding; words are taken in random order, and
    one that would exceed n is skipped.

    Args:
      key: a PRNG key.
      words: int32 `[T]`, the word that each token belongs to (for single tokens: numbers that all differ); -1 for what
        is never chosen, such as special tokens; -2 for padding, which does not count in L.
      share: of the tokens, 0.15 as published.
      most: the most places, which is the static size of the result.
      rounding: "nearest", as published; "random", `floor(share L + u)`, u from U[0, 1), of RoBERTa.

    Returns:
      int32 `[most]` places in rising order, and bool `[most]`, which of them count; the others are 0.

    Source: google-research/bert, create_pretraining_data.py, `create_masked_lm_predictions`.
    """
    length = len(words)
    noise_key, round_key = jax.random.split(key)
    wanted = share * jnp.sum(words > -2)
    if rounding == "random":
        wanted = jnp.floor(wanted + jax.random.uniform(round_key, (), jnp.float32))
    wanted = jnp.clip(jnp.round(wanted), 1, most).astype(jnp.int32)
    noise = jax.random.uniform(noise_key, (length,), jnp.float32)
    own = jnp.clip(words, 0, length - 1)
    noise = jnp.where(words >= 0, noise[own], 2.0)  # one draw a word; the stable sort keeps its tokens together
    order = jnp.argsort(noise)
    size = jnp.zeros(length, jnp.int32).at[own].add(words >= 0)[own]
    begins = words[order] != jnp.concatenate([jnp.array([-3], words.dtype), words[order][:-1]])

    def take(carry, token):
        chosen, inside = carry
        begin, count, real = token
        inside = jnp.where(begin, real & (chosen + count <= wanted), inside)
        return (chosen + inside, inside), inside

    tokens = begins, size[order], words[order] >= 0
    _, chosen = lax.scan(take, (jnp.int32(0), jnp.bool_(False)), tokens)
    chosen = jnp.zeros(length, bool).at[order].set(chosen)
    places = jnp.argsort(~chosen)[:most].astype(jnp.int32)  # stable: in rising order
    counts = chosen[places]
    return jnp.where(counts, places, 0), counts


def hide(key, tokens, places, counts, *, mask: int, vocabulary: int, first_word: int = 0):
    """Tokens with those at some places hidden: 80 % by the mask, 10 % by a random token, 10 % left as they are.

    Args:
      key: a PRNG key.
      tokens: int32 `[T]`.
      places: int32 `[M]`.
      counts: bool `[M]`, the places that are hidden.
      mask: the id of the mask.
      vocabulary: number of tokens, V.
      first_word: random tokens are drawn from here on; 0: from all, the special ones as well, as published.

    Returns:
      int32 `[T]`, and bool `[M]`: the places that hold the mask now.

    Source: Devlin et al., https://arxiv.org/abs/1810.04805, section 3.1.
    """
    kind_key, word_key = jax.random.split(key)
    kind = jax.random.uniform(kind_key, places.shape, jnp.float32)
    drawn = jax.random.randint(word_key, places.shape, first_word, vocabulary, tokens.dtype)
    masked = counts & (kind < 0.8)
    new = jnp.where(masked, mask, jnp.where(kind < 0.9, drawn, tokens[places]))
    # Places that do not count are 0: they are written first, and not at all.
    return tokens.at[jnp.where(counts, places, len(tokens))].set(new, mode="drop"), masked
