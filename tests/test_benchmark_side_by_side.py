"""`benchmarks/side_by_side.py`: which columns of several runs' pictures stand in one sheet, and in which order."""

import numpy as np

from benchmarks.side_by_side import columns, joined
from ssl_jax.methods.parts import patches


def test_common_columns_come_once_and_the_truth_last():
    grey, mean, sharp, soft, truth = (np.full((2, 5, 5, 3), value, np.uint8) for value in range(5))
    sheets = [patches.sheet(grey, mean, truth), patches.sheet(grey, sharp, soft, truth)]
    found = joined([columns(sheet, 5) for sheet in sheets])
    np.testing.assert_array_equal(found, patches.sheet(grey, mean, sharp, soft, truth))
