"""Embedding tables with sparse gradients: only the rows that a batch takes are differentiated and moved.

A method that offers `table_rows: batch -> {table: ids [b, n]}` has its tables `[V, D]` among its parameters. The step

1. puts the taken rows `[b, n, D]` in the place of the tables, and differentiates with respect to them,
2. gathers ids and row gradients from all devices, and divides by their number, as the mean of local gradients is,
3. adds `-learning_rate * factor * gradient` to the rows, once for every time that they were taken.

That is SGD with the dense gradient, up to the order of the sums, in memory and time of the rows alone. Tables stand
outside of the optimizer: no momentum, no weight decay; the group of a table may have a `learning_rate_factor`.
"""

import jax

from ssl_jax import collectives
from ssl_jax.methods.api import take as take


def names(method, viewed) -> tuple[str, ...]:
    """The tables of a method, given the shapes of some rows after `Method.views`; () where it has none."""
    return () if method.table_rows is None else tuple(sorted(jax.eval_shape(method.table_rows, viewed)))


def without(params: dict, tables) -> dict:
    """The parameters that the optimizer trains."""
    return {name: tree for name, tree in params.items() if name not in tables}


def reduce(gradients: dict, ids: dict, axis_name: str | None) -> tuple[dict, dict]:
    """Gradients of the global loss: means over devices, and all rows of the tables, with their ids."""
    size = collectives.axis_size(axis_name)
    dense = collectives.pmean(without(gradients, ids), axis_name)
    rows = {name: collectives.all_gather(gradients[name], axis_name) / size for name in ids}
    return dense | rows, collectives.all_gather(ids, axis_name)


def update(table, ids, gradient, learning_rate):
    """`table[ids] -= learning_rate * gradient`, summed over equal ids.

    >>> update(jnp.zeros((3, 1)), jnp.array([[0, 2, 2]]), jnp.ones((1, 3, 1)), 0.5).ravel().tolist()
    [-0.5, 0.0, -1.0]
    """
    return table.at[ids].add((-learning_rate * gradient).astype(table.dtype))
