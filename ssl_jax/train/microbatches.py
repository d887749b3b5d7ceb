"""Exact large batches on small memory: the global batch is augmented and encoded in microbatches, one after another.

GradCache (Gao et al. 2021, https://arxiv.org/abs/2101.06983, section 3), for every method:

1. Every microbatch is encoded, and nothing is kept but its outputs.
2. The loss of the whole batch, and its gradient at the parameters and at the outputs.
3. Every microbatch is augmented and encoded again, randomness included, and the gradient at its outputs goes on to the
   parameters.

The numbers are those of the batch encoded at once, up to rounding. Microbatch j is made of the global rows jB/k to
(j + 1)B/k, which all devices share, so that groups of batch norm, blocks of consecutive rows, stay whole. Every
microbatch starts from the same batch statistics, and the new ones are averaged.

Where the loss is a mean of per-example losses (`Method.separable`), one pass is enough: gradients are summed up.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from ssl_jax import methods
from ssl_jax.train.deal import collect, deal
from ssl_jax.train.step import views_of_step


def make(
    method: methods.Method, count: int, batch_size: int, shards: int, *, norm_groups: int, params, state, viewed
) -> Callable:
    """What `make_step` takes as `gradient_fn`: `gradient_of_batch` of `train/step.py`, in `count` microbatches.

    Args:
      method: the `Method`.
      count: microbatches of the global batch.
      batch_size: rows of the global batch.
      shards: parts that the global batch is spread over: devices, or blocks of strict mode.
      norm_groups: groups of batch norm in the global batch; a microbatch has its share of them.
      params, state: shapes of what `Method.init` gives.
      viewed: shapes of a few rows after `Method.views`.

    Raises:
      ValueError: rows that microbatches or shards cannot share, batch norm whose groups are no part of a microbatch, or
        tables.
    """
    if count < 1 or batch_size % (count * shards):
        raise ValueError(
            f"config.train.microbatches is {count} and config.train.batch_size {batch_size}; expected microbatches of "
            f"equal size, whose rows {shards} device{'s' * (shards > 1)} can share evenly; change one of the two"
        )
    if method.table_rows is not None:
        raise ValueError(
            f"config.train.microbatches is {count}, but this method has embedding tables with sparse gradients, whose "
            "batches are small in memory; set config.train.microbatches=1"
        )
    if norm_groups % count and _has_batch_statistics(method, batch_size, params, state, viewed):
        raise ValueError(
            f"config.train.microbatches is {count} and config.model.norm_groups {norm_groups}, so that groups of batch "
            f"norm reach beyond a microbatch; set norm_groups to a multiple of {count}, such as {count}, or take a "
            "model without batch norm"
        )
    return partial(_one_pass if method.separable else _two_passes, count)


def _one_pass(count, method, state, batch, progress, axis_name):
    """Gradients of a mean of per-example losses, summed over the microbatches; each row is encoded once."""

    def part(carry, rows):
        def local_loss(params):
            outputs, new = embed_rows(method, state, params, rows, progress, axis_name)
            loss, new, metrics = method.objective(params, outputs, new, progress, axis_name)
            return loss / count, (new, outputs, metrics)

        (loss, (new, outputs, metrics)), gradients = jax.value_and_grad(local_loss, has_aux=True)(state.params)
        totals = jax.tree.map(jnp.add, carry[0], (loss, gradients))
        return (totals, _add_share(count, carry[1], new, state.method)), (outputs, metrics)

    rows = _split(deal(batch, axis_name, count), count)
    zeros = jax.tree.map(jnp.zeros_like, (jnp.zeros((), _loss_dtype(state.params)), state.params))
    ((loss, gradients), method_state), (outputs, metrics) = jax.lax.scan(part, (zeros, state.method), rows)
    outputs = collect(_merge(outputs), axis_name, count)
    metrics = jax.tree.map(lambda of_parts: jnp.mean(of_parts, axis=0), metrics)
    return (loss, (method_state, outputs, metrics, {})), gradients


def _two_passes(count, method, state, batch, progress, axis_name):
    """GradCache: all rows are encoded, the loss of all outputs is differentiated, all rows are encoded again."""
    params = state.params
    rows = _split(deal(batch, axis_name, count), count)

    def encode(method_state, rows):
        outputs, new = embed_rows(method, state, params, rows, progress, axis_name)
        return _add_share(count, method_state, new, state.method), outputs

    def objective(params, outputs, method_state):
        loss, method_state, metrics = method.objective(params, outputs, method_state, progress, axis_name)
        return loss, (method_state, outputs, metrics, {})

    def encode_again(gradients, part):
        rows, cotangents = part

        def outputs_of(params):
            return _floats(embed_rows(method, state, params, rows, progress, axis_name)[0])

        _, pull = jax.vjp(outputs_of, params)
        return jax.tree.map(jnp.add, gradients, *pull(cotangents)), None

    method_state, outputs = jax.lax.scan(encode, state.method, rows)
    outputs = collect(_merge(outputs), axis_name, count)
    # Outputs that are whole numbers have no gradient.
    differentiated = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True, allow_int=True)
    found, (gradients, cotangents) = differentiated(params, outputs, method_state)
    cotangents = _split(deal(_floats(cotangents), axis_name, count), count)
    gradients, _ = jax.lax.scan(encode_again, gradients, (rows, cotangents))
    return found, gradients


def embed_rows(method, state, params, rows, progress, axis_name):
    """`Method.embed` of some rows of the batch, views included: the same whenever it is called."""
    key, viewed = views_of_step(method, state.key, state.step, rows)
    return method.embed(params, state.method, viewed, key, progress, axis_name)


def _add_share(count, total, new, old):
    """Running mean of the states after each microbatch; what `embed` leaves as it is, such as a queue, stays."""
    return jax.tree.map(lambda total, new, old: total if new is old else total + (new - old) / count, total, new, old)


def _loss_dtype(params):
    return jnp.result_type(jnp.float32, *jax.tree.leaves(params))


def _has_batch_statistics(method, batch_size: int, params, state, viewed) -> bool:
    """Whether `embed` changes anything in the state, which by the contract are batch statistics."""
    rows = {name: jax.ShapeDtypeStruct((batch_size, *few.shape[1:]), few.dtype) for name, few in viewed.items()}

    def changed(params, state, rows):
        _, new = method.embed(params, state, rows, jax.random.key(0), methods.Progress(0, 1), None)
        return [after for before, after in zip(*map(jax.tree.leaves, (state, new)), strict=True) if before is not after]

    return bool(jax.eval_shape(changed, params, state, rows))


def _split(tree, count: int):
    """`[b, ...]` as `[count, b / count, ...]`."""
    return jax.tree.map(lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:]), tree)


def _merge(tree):
    """The inverse of `_split`."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


def _floats(tree) -> list:
    """The leaves that have a gradient."""
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
