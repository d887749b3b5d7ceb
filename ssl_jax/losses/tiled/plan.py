"""What suits a kind of device: all that contrastive losses do differently on CPUs and on accelerators."""

import math
from typing import NamedTuple


class Plan(NamedTuple):
    """How tiles are cut, multiplied, summed up and sent. The mathematics is the same under any plan.

    Attributes:
      canonical_tiles: tiles are those of the GLOBAL batch, the same on 1, 2, 4 and 8 devices; otherwise as few and as
        large as the rows of a device allow.
      ordered_sums: dimensions are summed in an order that does not depend on the number of rows.
      transposed_sums: gradients of columns are summed as `[D, m]`.
      late_shift: column tiles are sent on after the products of an offset; otherwise during them.
      largest_logits: how many logits may exist at once; larger tiles are handled some rows at a time.
      largest_gradient: how many d loss / d logits may exist at once; or as many as the embeddings have elements.
    """

    canonical_tiles: bool
    ordered_sums: bool
    transposed_sums: bool
    late_shift: bool
    largest_logits: float
    largest_gradient: float


# The same bits on any number of devices, and logits that stay in the cache of a core.
CPU = Plan(
    canonical_tiles=True, ordered_sums=True, transposed_sums=True, late_shift=True,
    largest_logits=1 << 17, largest_gradient=math.inf,
)  # fmt: skip
# Few large products, which fill the chip; their gradients alone would take too much memory.
ACCELERATOR = Plan(
    canonical_tiles=False, ordered_sums=False, transposed_sums=False, late_shift=False,
    largest_logits=math.inf, largest_gradient=1 << 25,
)  # fmt: skip

PLANS = {"cpu": CPU}  # by backend; a test puts another plan here


def plan_for(backend: str) -> Plan:
    """The plan of a backend of JAX."""
    return PLANS.get(backend, ACCELERATOR)
