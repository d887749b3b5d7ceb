"""The patches of a grid as a puzzle: which are neighbours, and the arrangement that pairwise predictions prefer."""

import functools
import itertools
import math

import numpy as np

# (row, column) of the second patch seen from the first; the class of a pair is its place in this list.
DIRECTIONS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
NAMES = ("upper_left", "above", "upper_right", "left", "right", "lower_left", "below", "lower_right")
LARGEST_GRID = 3  # 9! arrangements can all be tried, 16! cannot


def neighbours(grid: int) -> np.ndarray:
    """All ordered pairs of neighbours in a grid, int32 `[P, 3]`: first patch, second patch, direction.

    Patches are numbered row by row; pairs are in the order of their direction.

    >>> neighbours(2)[:3].tolist()
    [[3, 0, 0], [2, 0, 1], [3, 1, 1]]
    """
    found = []
    for direction, (down, right) in enumerate(DIRECTIONS):
        for row, column in itertools.product(range(grid), repeat=2):
            if 0 <= row + down < grid and 0 <= column + right < grid:
                found.append((row * grid + column, (row + down) * grid + column + right, direction))
    return np.array(found, np.int32)


def assemble(scores, grid: int) -> np.ndarray:
    """The arrangement whose pairs of neighbours have the largest sum of scores, of all that there are.

    Args:
      scores: `[n, n, 8]` for n = grid^2 patches in any order: `scores[i, j, d]` is the log probability that patch j is
        in direction d from patch i.
      grid: 2 or 3 patches on a side.

    Returns:
      int `[n]`: the patch in each place, row by row.

    >>> scores = np.zeros((4, 4, 8))
    >>> for first, second, direction in neighbours(2):
    ...     scores[3 - first, 3 - second, direction] = 1  # the patches came in reverse order
    >>> assemble(scores, 2).tolist()
    [3, 2, 1, 0]
    """
    if not 2 <= grid <= LARGEST_GRID:
        raise ValueError(f"A puzzle of {grid} x {grid} patches was given; expected 2 or 3 on a side")
    orders = _orders(grid * grid)
    total = np.zeros(len(orders), np.float32)
    scores = np.asarray(scores, np.float32)
    for first, second, direction in neighbours(grid):
        total += scores[orders[:, first], orders[:, second], direction]
    return orders[np.argmax(total)].astype(np.int64)


@functools.cache
def permutations(n: int, count: int, seed: int = 0) -> np.ndarray:
    """`count` permutations of n things that differ from one another in as many places as can be, int32 `[count, n]`.

    Greedy: the first is random, each next one of those whose distances (numbers of places that differ) to all before
    have the largest sum; of equal ones, the one whose least distance is largest, then a random one.

    >>> found = permutations(4, 4)
    >>> [int((found[i] != found[j]).sum()) for i in range(4) for j in range(i)]
    [4, 4, 4, 4, 4, 4]

    Source: Noroozi and Favaro 2016 (arXiv 1603.09246), algorithm 1, which leaves open what is done with equal ones.
    """
    if not 2 <= count <= math.factorial(n):
        raise ValueError(f"{count} permutations of {n} patches were asked for; expected 2 to {math.factorial(n)}")
    orders, random = _orders(n), np.random.default_rng(seed)
    total, least = np.zeros(len(orders), np.int64), np.full(len(orders), n, np.int64)
    tie, chosen = random.random(len(orders)), [int(random.integers(len(orders)))]
    while len(chosen) < count:
        distance = (orders != orders[chosen[-1]]).sum(axis=1)
        total, least = total + distance, np.minimum(least, distance)
        # In this order of importance; what is chosen has a least distance of 0.
        rank = np.where(least > 0, total * (n + 1) + least + tie, -1)
        chosen.append(int(np.argmax(rank)))
    return orders[chosen].astype(np.int32)


@functools.cache
def _orders(n: int) -> np.ndarray:
    return np.array(list(itertools.permutations(range(n))), np.int8)
