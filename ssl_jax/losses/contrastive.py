"""Contrastive losses of the global batch, exact across devices: every device passes its own rows `[b, D]` of it.

Negatives come from all devices and gradient flows to them, in memory linear in b (`ring.py`, `log_sums.py`). The mean
over the axis of the returned values is the global loss: differentiate the value as it is and average the gradients once
with `lax.pmean`.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from ssl_jax.losses import arguments, embeddings
from ssl_jax.losses.tiled import ring
from ssl_jax.losses.tiled.pairs import (
    cosines,
    directions,
    in_one_dtype,
    normalisers,
    operand,
    request_for,
    with_scale,
)


def nt_xent(z_a, z_b, *others, temperature=0.1, axis_name=None, block_size=None, weights=None, reduction="mean"):
    """NT-Xent, the loss of SimCLR: every view finds its partner among the other 2B - 1 views of the global batch.

    `l_i = -log(exp(s_ij) / sum_{k != i} exp(s_ik))`, `s_ik = cos(z_i, z_k) / temperature`, j the other view of i;
    the loss is the mean of `l_i` over the 2B anchors. With V > 2 views an anchor has V - 1 partners, and `l_i` is the
    mean over them, each against all other V B - 1 views: `sup_con` with the example as the label.

    Args:
      z_a: embeddings of the first views, float `[b, D]`, this device's rows; L2-normalised inside.
      z_b: embeddings of the second views, float `[b, D]`; row i belongs to the same example as row i of `z_a`.
      others: embeddings of further views, likewise.
      temperature: positive scalar dividing the cosine; may be traced.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      block_size: examples in a tile, which bounds the memory by O(block_size^2) beside the embeddings; the result does
        not depend on it but for rounding. None: by the machine, and one block for a GLOBAL batch below 512.
      weights: non-negative `[b]`, taken as constants. An example's weight multiplies its term in the mean and its
        terms as a negative of others; the positive pairs always count once. Rows of weight 0 are padding.
      reduction: "mean", or "none" for the per-example values (the mean of the anchors of an example).

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights of their own examples.

    Raises:
      ValueError: on wrong shapes, a temperature that is not positive, wrong weights, block size or reduction.

    Example:
      >>> z = jnp.eye(4)  # partners agree, the six negatives of an anchor are orthogonal: log(1 + 6 / e)
      >>> round(float(nt_xent(z, z, temperature=1.0)), 4)
      1.1654

    Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", eq. 1 and algorithm 1,
    arXiv 2002.05709. The official code takes the sum of the two directions' means, twice this value.
    """
    views = {"z_a": z_a, "z_b": z_b} | {f"others[{i}]": view for i, view in enumerate(others)}
    views, weights = arguments.contrastive(views, block_size, weights, reduction, axis_name)
    arguments.scalar("temperature", temperature, arguments.TEMPERATURE)
    views = directions(*views)
    batch = ring.cut(len(views[0]), axis_name, block_size, views=len(views))
    scale = batch.spread(1 / temperature)
    negatives = among_views(batch, views, 1 / temperature, scale, weights)
    anchors = []
    for i, view in enumerate(views):
        positives = [scale * batch.split(cosines(view, other)) for j, other in enumerate(views) if j != i]
        # log(1 + negatives / positives), which stays exact where the positives leave next to nothing to the negatives.
        if len(positives) == 1:
            anchors.append(jax.nn.softplus(negatives[i] - positives[0]))
        else:
            together = jax.nn.logsumexp(jnp.stack(positives), axis=0)
            anchors.append(jax.nn.softplus(negatives[i] - together) + together - sum(positives) / len(positives))
    return batch.mean(sum(anchors) / len(anchors), weights, reduction)


def info_nce(
    query, key, *, temperature=0.1, axis_name=None, block_size=None, weights=None, reduction="mean", similarity="cosine"
):
    """InfoNCE in one direction: every query finds its key among all keys of the global batch.

    `l_i = -log(exp(s_ii) / sum_k exp(s_ik))`, `s_ik = cos(query_i, key_k) / temperature`; the loss is the mean over
    the B queries. Stop the gradient of `key` outside where the method asks for it (momentum keys). With
    `similarity="dot"`, `s_ik = query_i . key_k / temperature`, as CPC predicts: set `temperature=1.0` for its form.

    Args:
      query: float `[b, D]`, this device's rows; L2-normalised inside, but for dot products.
      key: float `[b, D]`; row i is the positive of row i of `query`, the rest of the global batch its negatives.
      temperature: positive scalar dividing the cosine; may be traced.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      block_size: examples in a tile, which bounds the memory by O(block_size^2) beside the embeddings; the result does
        not depend on it but for rounding. None: by the machine, and one block for a GLOBAL batch below 512.
      weights: non-negative `[b]`, taken as constants. A pair's weight multiplies its term in the mean and its key's
        term as a negative of others; the positive always counts once. Rows of weight 0 are padding.
      reduction: "mean", or "none" for the values of the queries.
      similarity: "cosine", or "dot" for products of any size.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights of their own examples.

    Raises:
      ValueError: on wrong shapes, a temperature that is not positive, wrong weights, block size, reduction or
        similarity.

    Example:
      >>> z = jnp.eye(4)  # the three negatives of a query are orthogonal: log(1 + 3 / e)
      >>> round(float(info_nce(z, z, temperature=1.0)), 4)
      0.7437

    van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", eq. 4, arXiv 1807.03748.
    """
    pair, weights = arguments.contrastive({"query": query, "key": key}, block_size, weights, reduction, axis_name)
    arguments.scalar("temperature", temperature, arguments.TEMPERATURE)
    arguments.one_of("similarity", similarity, ("cosine", "dot"))
    unit = similarity == "cosine"
    query, key = directions(*pair) if unit else in_one_dtype(*pair)
    batch = ring.cut(len(query), axis_name, block_size)
    scale = batch.spread(1 / temperature)
    bound = 1 / temperature if unit else math.inf  # without a bound each row has a running maximum
    request = request_for(batch, bound)
    rows, columns = (operand(batch, [z], weights, scale=s, unit=unit) for z, s in ((query, scale), (key, None)))
    if unit:
        together = cosines(query, key)
    else:
        products = embeddings.widen(query) * embeddings.widen(key)
        together = embeddings.nan_unless_finite(jnp.sum(products, axis=-1), query, key)
    positives = scale * batch.split(together)
    negatives, _ = normalisers(request, batch, rows, columns, bound)
    return batch.mean(jax.nn.softplus(negatives - positives), weights, reduction)


def clip(image, text, *, logit_scale, axis_name=None, block_size=None, weights=None, reduction="mean"):
    """The loss of CLIP: every image finds its text among all texts of the global batch, and every text its image.

    `l_i = -log(exp(s_ii) / sum_k exp(s_ik)) / 2 - log(exp(s_ii) / sum_k exp(s_ki)) / 2`,
    `s_ik = logit_scale cos(image_i, text_k)`; the loss is the mean over the B pairs.

    Args:
      image: float `[b, D]`, this device's rows; L2-normalised inside.
      text: float `[b, D]`; row i belongs to row i of `image`.
      logit_scale: positive scalar that multiplies the cosine (not its logarithm); may be traced.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      block_size: examples in a tile, which bounds the memory by O(block_size^2) beside the embeddings; the result does
        not depend on it but for rounding. None: by the machine, and one block for a GLOBAL batch below 512.
      weights: non-negative `[b]`, taken as constants. A pair's weight multiplies its term in the mean and its terms
        as a negative of others; the positive always counts once. Rows of weight 0 are padding.
      reduction: "mean", or "none" for the values of the pairs.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights of their own examples.

    Raises:
      ValueError: on wrong shapes, a scale that is not positive, wrong weights, block size or reduction.

    Example:
      >>> z = jnp.eye(4)  # both directions are InfoNCE at temperature 1: log(1 + 3 / e)
      >>> round(float(clip(z, z, logit_scale=1.0)), 4)
      0.7437

    Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", figure 3,
    arXiv 2103.00020.
    """
    pair, weights = arguments.contrastive({"image": image, "text": text}, block_size, weights, reduction, axis_name)
    arguments.scalar("logit_scale", logit_scale, arguments.LOGIT_SCALE)
    image, text = directions(*pair)
    batch = ring.cut(len(image), axis_name, block_size)
    scale = batch.spread(logit_scale)
    request = request_for(batch, logit_scale, columns=True)
    rows, columns = operand(batch, [image], weights, scale=scale), operand(batch, [text], weights)
    positives = scale * batch.split(cosines(image, text))
    negatives = normalisers(request, batch, rows, columns, logit_scale)
    losses = sum(jax.nn.softplus(direction - positives) for direction in negatives) / 2
    return batch.mean(losses, weights, reduction)


def queue_info_nce(
    query, key, queue, *, temperature=0.07, axis_name=None, block_size=None, weights=None, reduction="mean"
):
    """InfoNCE against a queue, the loss of MoCo: every query finds its key among the K keys of earlier batches.

    `l_i = -log(exp(s_i) / (exp(s_i) + sum_k exp(t_ik)))`, `s_i = cos(query_i, key_i) / temperature`,
    `t_ik = cos(query_i, queue_k) / temperature`; the loss is the mean over the B queries. The other keys of the batch
    are no negatives. Stop the gradient of `key` outside, as MoCo does.

    Args:
      query: float `[b, D]`, this device's rows; L2-normalised inside, but for dot products.
      key: float `[b, D]`; row i is the positive of row i of `query`.
      queue: float `[K, D]`, the negatives, the same on every device, taken as constants; L2-normalised inside.
      temperature: positive scalar dividing the cosine; may be traced.
      axis_name: mapped axis over which the global batch is spread; None for a single device.
      block_size: queries, and keys of the queue, in a tile, which bounds the memory by O(block_size^2) beside the
        embeddings; the result does not depend on it but for rounding. None: by the machine, and one block where a
        GLOBAL batch below 512 has at most 512^2 logits.
      weights: non-negative `[b]`, taken as constants: an example's weight multiplies its term in the mean.
      reduction: "mean", or "none" for the values of the queries.

    Returns:
      At least float32: a scalar whose mean over the axis is the loss of the global batch, or `[b]` for "none", whose
      values are not multiplied by the weights of their own examples.

    Raises:
      ValueError: on wrong shapes, a temperature that is not positive, wrong weights, block size or reduction.

    Example:
      >>> query, queue = jnp.eye(4)[:1], jnp.eye(4)[1:]  # three orthogonal negatives: log(1 + 3 / e)
      >>> round(float(queue_info_nce(query, query, queue, temperature=1.0)), 4)
      0.7437

    He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning", eq. 1, arXiv 1911.05722.
    """
    pair, weights = arguments.contrastive({"query": query, "key": key}, block_size, weights, reduction, axis_name)
    arguments.scalar("temperature", temperature, arguments.TEMPERATURE)
    _, queue = arguments.arrays("pass one earlier key a row", query=(query, "b D"), queue=(queue, "K D"))
    query, key, queue = directions(*pair, queue)
    batch = ring.cut(len(query), axis_name, block_size)
    scale = batch.spread(1 / temperature)
    request = request_for(batch, 1 / temperature, constant=True)
    batch, held = ring.cut_queue(batch, len(queue), block_size)
    unmatched = jnp.full((held.count, held.size), -2, jnp.int32)  # the label of no row
    rows, columns = operand(batch, [query], scale=scale), operand(held, [lax.stop_gradient(queue)], labels=unmatched)
    positives = scale * batch.split(cosines(query, key))
    negatives, _ = normalisers(request, batch, rows, columns, 1 / temperature)
    return batch.mean(jax.nn.softplus(negatives - positives), weights, reduction)


def among_views(batch: ring.Tiles, views, bound, scale, weights):
    """`log sum_k w_k exp(s_ik)` over all views of other examples, for every view of every example: `[V, t, size]`."""
    columns = operand(batch, views, weights)
    request = request_for(batch, bound, symmetric=True)
    negatives, _ = normalisers(request, batch, with_scale(columns, scale), columns, bound)
    return jnp.moveaxis(negatives.reshape(batch.count, len(views), batch.size), 1, 0)
