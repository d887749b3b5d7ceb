"""Which tokens are hidden: how many, whole words, never special ones; by what, in which proportions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.augment.token_masks import choose_places, hide

WORDS = np.array([-1, 0, 1, 1, 2, 3, 3, 3, 4, -1, 5, 6, 6, 7, -1, -2, -2, -2], np.int32)  # 15 tokens, then padding
SINGLES = np.where(WORDS >= 0, np.arange(18), WORDS)


def choose(words, share=0.3, most=8, draws=400, **options):
    keys = jax.random.split(jax.random.key(0), draws)
    places, counts = jax.vmap(lambda key: choose_places(key, jnp.asarray(words), share, most, **options))(keys)
    return [np.asarray(row)[np.asarray(count)] for row, count in zip(places, counts, strict=True)]


def test_the_number_counts_special_tokens_and_not_padding():
    assert {len(row) for row in choose(SINGLES, 0.15)} == {2}  # round(0.15 * 15)
    assert {len(row) for row in choose(SINGLES, 0.01)} == {1}
    assert {len(row) for row in choose(SINGLES, 0.5, most=3)} == {3}
    random = [len(row) for row in choose(SINGLES, 0.15, draws=2000, rounding="random")]
    assert set(random) == {2, 3} and np.mean(random) == pytest.approx(2.25, abs=0.05)


def test_special_tokens_and_padding_are_never_chosen_and_all_others_alike():
    rows = choose(SINGLES, 0.3, draws=2000)
    counts = np.bincount(np.concatenate(rows), minlength=18) / 2000
    assert (counts[WORDS < 0] == 0).all()
    expected = len(rows[0]) / np.sum(WORDS >= 0)
    np.testing.assert_allclose(counts[WORDS >= 0], expected, atol=0.05)
    assert all((np.diff(row) > 0).all() for row in rows)


def test_whole_words_are_taken_and_those_that_exceed_the_number_skipped():
    rows = choose(WORDS, 0.15)
    assert max(map(len, rows)) == 2
    for row in rows:
        for word in WORDS[row]:
            assert np.isin(np.flatnonzero(WORDS == word), row).all()
    taken = {word for row in rows for word in WORDS[row]}
    assert 3 not in taken and {1, 6} <= taken  # a word of three tokens never fits in two


def test_hidden_tokens_are_masked_random_or_kept():
    tokens, places, counts = jnp.full(2000, 7), jnp.arange(2000), jnp.arange(2000) < 1500
    new, masked = map(np.asarray, hide(jax.random.key(1), tokens, places, counts, mask=4, vocabulary=50))
    assert (new[1500:] == 7).all() and not masked[1500:].any()
    assert masked[:1500].mean() == pytest.approx(0.8, abs=0.04) and (new[masked] == 4).all()
    rest = new[:1500][~masked[:1500]]
    assert np.mean(rest == 7) == pytest.approx(0.5 + 0.5 / 50, abs=0.08)
    assert rest.min() < 5  # special tokens, too, as published
    words = np.asarray(hide(jax.random.key(1), tokens, places, counts, mask=4, vocabulary=50, first_word=5)[0])
    assert words[words != 4].min() >= 5


def test_places_that_do_not_count_change_nothing():
    tokens = jnp.arange(10, 16)
    new, masked = hide(jax.random.key(0), tokens, jnp.zeros(4, int), jnp.zeros(4, bool), mask=4, vocabulary=50)
    assert new.tolist() == tokens.tolist() and not masked.any()
