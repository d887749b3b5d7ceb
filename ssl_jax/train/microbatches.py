"""Exact large batches on small memory: the global batch is augmented and encoded in microbatches, one after another.

GradCache (Gao et al. 2021, https://arxiv.org/abs/2101.06983, section 3), for every method:

1. Every microbatch is encoded, and nothing is kept but its outputs.
2. The loss of the whole batch, and its gradient at the parameters and at the outputs.
3. Every microbatch is augmented and encoded again, randomness included, and the gradient at its outputs goes on to the
   parameters.

The numbers are those of the batch encoded at once, up to rounding. Microbatch j is made of the global rows jB/k to
(j + 1)B/k, which all devices share, so that groups of batch norm, blocks of consecutive rows, stay whole. Every
microbatch starts from the same batch statistics, and the new ones are averaged.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssl_jax import methods
from ssl_jax.train.deal import collect, deal
from ssl_jax.train.step import views_of_step


def make(config, shards: int, params, state, viewed) -> Callable:
    """What `make_step` takes as `gradient_fn`: `gradient_of_batch` of `train/step.py`, in `config.train.microbatches`.

    Args:
      config: the whole config.
      shards: parts that the global batch is spread over: devices, or blocks of strict mode.
      params, state: shapes of what `Method.init` gives.
      viewed: shapes of a few rows after `Method.views`.

    Raises:
      ValueError: rows that microbatches or shards cannot share, or batch norm whose groups are no part of a microbatch.
    """
    count, batch_size, groups = config.train.microbatches, config.train.batch_size, config.model.get("norm_groups", 1)
    if count < 1 or batch_size % (count * shards):
        raise ValueError(
            f"config.train.microbatches is {count} and config.train.batch_size {batch_size}; expected microbatches of "
            f"equal size, whose rows {shards} device{'s' * (shards > 1)} can share evenly; change one of the two"
        )
    if groups % count and _has_batch_statistics(methods.build(config), batch_size, params, state, viewed):
        raise ValueError(
            f"config.train.microbatches is {count} and config.model.norm_groups {groups}, so that groups of batch norm "
            f"reach beyond a microbatch; set norm_groups to a multiple of {count}, such as {count}, or take a model "
            "without batch norm"
        )
    part = config.copy_and_resolve_references()
    part.train.batch_size, part.train.microbatches = batch_size // count, 1
    if groups > 1:
        part.model.norm_groups = max(1, groups // count)
    embed = methods.build(part).embed  # of a batch as large as a microbatch, with the groups that it holds

    def gradient_fn(method, state, batch, progress, axis_name):
        params = state.params
        rows = _split(deal(batch, axis_name, count), count)

        def embed_rows(params, rows):
            key, viewed = views_of_step(method, state.key, state.step, rows)
            return embed(params, state.method, viewed, key, progress, axis_name)

        def mean(total, new, old):  # what embed hands on as it is, such as a queue, is not even copied
            return total if new is old else total + (new - old) / count

        def encode(method_state, rows):
            outputs, new = embed_rows(params, rows)
            return jax.tree.map(mean, method_state, new, state.method), outputs

        def objective(params, outputs, method_state):
            loss, method_state, metrics = method.objective(params, outputs, method_state, progress, axis_name)
            return loss, (method_state, outputs, metrics)

        def encode_again(gradients, part):
            rows, cotangents = part
            _, pull = jax.vjp(lambda params: _floats(embed_rows(params, rows)[0]), params)
            return jax.tree.map(jnp.add, gradients, *pull(cotangents)), None

        method_state, outputs = jax.lax.scan(encode, state.method, rows)
        outputs = collect(_merge(outputs), axis_name, count)
        # Outputs that are whole numbers have no gradient.
        differentiated = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True, allow_int=True)
        found, (gradients, cotangents) = differentiated(params, outputs, method_state)
        cotangents = _split(deal(_floats(cotangents), axis_name, count), count)
        gradients, _ = jax.lax.scan(encode_again, gradients, (rows, cotangents))
        return found, gradients

    return gradient_fn


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
