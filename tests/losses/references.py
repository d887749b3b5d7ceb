"""The papers' formulas of the contrastive losses in float64 NumPy, one anchor at a time, and their gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from ssl_jax import losses

QUEUE = np.random.default_rng(4).normal(size=(7, 5))
LABELS = np.random.default_rng(5).integers(0, 3, 16)
B, D, TEMPERATURE = 16, 5, 0.5
ROWS = np.random.default_rng(0).normal(size=(2, B, D))
FRACTIONAL = np.random.default_rng(1).uniform(0.2, 2.0, B)
# Uneven over the devices: of eight, one holds padding only and five hold none.
PADDING = np.ones(B)
PADDING[[1, 2, 3, 9]] = 0


def unit(z):
    return z / np.sqrt((z * z).sum(axis=1, keepdims=True))  # not np.abs: complex steps go through


def against_queue(query, key, **options):
    return losses.queue_info_nce(query, key, jnp.asarray(QUEUE, jnp.result_type(float)), **options)


def with_three_views(z_a, z_b, **options):
    return losses.nt_xent(z_a, z_b, z_a + 2 * z_b, **options)


def of_scale(loss, **fixed):
    """A loss that takes 1 / temperature as its scale."""
    return lambda x, y, *, temperature=0.1, **options: loss(x, y, logit_scale=1 / temperature, **fixed, **options)


def of_classes(z_a, z_b, *, axis_name=None, **options):
    """SupCon of the first views, whose classes go by their place in the global batch."""
    start = 0 if axis_name is None else jax.lax.axis_index(axis_name) * len(z_a)
    labels = jax.lax.dynamic_slice_in_dim(jnp.asarray(np.resize(LABELS, 64 * B)), start, len(z_a))
    return losses.sup_con(z_a + z_b, labels, axis_name=axis_name, **options)


LOSSES = {
    "nt_xent": losses.nt_xent,
    "nt_xent of three views": with_three_views,
    "info_nce": losses.info_nce,
    "queue_info_nce": against_queue,
    "clip": of_scale(losses.clip),
    "sigmoid": of_scale(losses.sigmoid, logit_bias=-1.5),
    "sup_con": of_classes,
    "dcl": losses.dcl,
    "dclw": losses.dclw,
}


def numpy_nt_xent(z_a, z_b, temperature, weights):
    """Equation 1 of arXiv 2002.05709."""
    z, w, b = unit(np.concatenate([z_a, z_b])), np.tile(weights, 2), len(z_a)
    values = []
    for i in range(2 * b):
        j = (i + b) % (2 * b)
        similarity = np.exp(z @ z[i] / temperature)
        negatives = np.delete(w * similarity, [i, j]).sum()
        values.append(-np.log(similarity[j] / (similarity[j] + negatives)))
    return np.reshape(values, (2, b)).mean(axis=0)


def numpy_three_views(z_a, z_b, temperature, weights):
    """Equation 2 of arXiv 2004.11362 with the example as the class; its own views always count once."""
    z, w, b = unit(np.concatenate([z_a, z_b, z_a + 2 * z_b])), np.tile(weights, 3), len(z_a)
    values = []
    for i in range(3 * b):
        own = [k for k in range(3 * b) if k % b == i % b and k != i]
        similarity = np.exp(z @ z[i] / temperature)
        among = sum(similarity[own]) + sum(w[k] * similarity[k] for k in range(3 * b) if k % b != i % b)
        values.append(-np.mean([np.log(similarity[p] / among) for p in own]))
    return np.reshape(values, (3, b)).mean(axis=0)


def numpy_info_nce(query, key, temperature, weights):
    """Equation 4 of arXiv 1807.03748 with exp(cosine / temperature) for the density ratio."""
    query, key = unit(query), unit(key)
    values = []
    for i in range(len(query)):
        similarity = np.exp(key @ query[i] / temperature)
        negatives = np.delete(weights * similarity, i).sum()
        values.append(-np.log(similarity[i] / (similarity[i] + negatives)))
    return np.array(values)


def numpy_clip(image, text, temperature, weights):
    """Figure 3 of arXiv 2103.00020: the mean of the two directions."""
    directions = (image, text), (text, image)
    return sum(numpy_info_nce(x, y, temperature, weights) for x, y in directions) / 2


def numpy_queue_info_nce(query, key, temperature, weights):
    """Equation 1 of arXiv 1911.05722: the sum has the positive and K negatives."""
    query, key, queue = unit(query), unit(key), unit(QUEUE)
    positive = np.exp((query * key).sum(axis=1) / temperature)
    return -np.log(positive / (positive + np.exp(query @ queue.T / temperature).sum(axis=1)))


def numpy_sigmoid(image, text, temperature, weights):
    """Algorithm 1 of arXiv 2303.15343, -log sigmoid(label x logit), for every row of pairs."""
    logits = unit(image) @ unit(text).T / temperature - 1.5
    values = []
    for i in range(len(logits)):
        of_negatives = np.log(1 + np.exp(logits[i])) * weights
        values.append(np.log(1 + np.exp(-logits[i, i])) + np.delete(of_negatives, i).sum())
    return np.array(values)


def numpy_sup_con(z_a, z_b, temperature, weights):
    """Equation 2 of arXiv 2004.11362."""
    z, labels = unit(z_a + z_b), LABELS if len(z_a) == B else LABELS[PADDING > 0]
    values = []
    for i in range(len(z)):
        similarity, others = z @ z[i] / temperature, [k for k in range(len(z)) if k != i]
        among = sum(weights[k] * np.exp(similarity[k]) for k in others)
        own = [k for k in others if labels[k] == labels[i]]
        logs = sum(weights[p] * np.log(np.exp(similarity[p]) / among) for p in own)
        values.append(-logs / sum(weights[p] for p in own))
    return np.array(values)


def numpy_dcl(z_a, z_b, temperature, weights, pair_weights=1.0):
    """Equation 6 of arXiv 2110.06848."""
    z, w, b = unit(np.concatenate([z_a, z_b])), np.tile(weights, 2), len(z_a)
    values = []
    for i in range(2 * b):
        similarity = z @ z[i] / temperature
        others = [k for k in range(2 * b) if k % b != i % b]
        positive = (pair_weights * np.ones(b))[i % b] * similarity[(i + b) % (2 * b)]
        values.append(-positive + np.log(sum(w[k] * np.exp(similarity[k]) for k in others)))
    return np.reshape(values, (2, b)).mean(axis=0)


def numpy_dclw(z_a, z_b, temperature, weights):
    """Equation 7 of arXiv 2110.06848, sigma 0.5."""
    agreement = np.exp((unit(z_a) * unit(z_b)).sum(axis=1) / 0.5)
    return numpy_dcl(z_a, z_b, temperature, weights, 2 - agreement / (sum(weights * agreement) / sum(weights)))


NUMPY_LOSSES = {
    "nt_xent": numpy_nt_xent,
    "nt_xent of three views": numpy_three_views,
    "info_nce": numpy_info_nce,
    "queue_info_nce": numpy_queue_info_nce,
    "clip": numpy_clip,
    "sigmoid": numpy_sigmoid,
    "sup_con": numpy_sup_con,
    "dcl": numpy_dcl,
    "dclw": numpy_dclw,
}


def numpy_mean_and_grads(name, params, x_a, x_b, weights):
    """Weighted mean over the global batch, and its gradients by complex steps: exact to rounding, no subtraction."""
    leaves, tree = jax.tree.flatten((params, x_a, x_b))
    leaves = [np.asarray(leaf, complex) for leaf in leaves]

    def value():
        params, x_a, x_b = jax.tree.unflatten(tree, leaves)
        values = NUMPY_LOSSES[name](x_a @ params["matrix"], x_b @ params["matrix"], params["temperature"], weights)
        return np.sum(weights * values) / np.sum(weights)

    grads = [np.zeros(leaf.shape) for leaf in leaves]
    for leaf, grad in zip(leaves, grads, strict=True):
        for index in np.ndindex(leaf.shape):
            leaf[index] += 1e-30j
            grad[index] = value().imag / 1e-30
            leaf[index] = leaf[index].real
    return value().real, jax.tree.unflatten(tree, grads)


PARAMS = {"matrix": np.random.default_rng(2).normal(size=(D, D)) / D**0.5, "temperature": np.array(TEMPERATURE)}


@functools.cache
def expected(name, case):
    """Value and gradients of a loss: with weights of one, "padded" by rows of weight 0, or "weighted"."""
    if case == "padded":  # the batch without its padding; the padding's own gradient is nought
        kept = PADDING > 0
        value, (params, *rows) = numpy_mean_and_grads(name, PARAMS, *ROWS[:, kept], np.ones(kept.sum()))
        padded = np.zeros_like(ROWS)
        padded[:, kept] = rows
        return value, (params, *padded)
    return numpy_mean_and_grads(name, PARAMS, *ROWS, FRACTIONAL if case == "weighted" else np.ones(B))


def evaluate(kind, n, body, params, *batch):
    """`body(params, *local rows, axis_name=...) -> (replicated, rows)` on n devices, global arrays in and out."""
    if kind == "single":
        return jax.jit(functools.partial(body, axis_name=None))(params, *batch)
    body = functools.partial(body, axis_name="data")
    if kind == "shard_map":
        mesh = jax.make_mesh((n,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:n])
        specs = dict(in_specs=(P(), *(P("data") for _ in batch)), out_specs=(P(), P("data")), check_vma=False)
        return jax.jit(jax.shard_map(body, mesh=mesh, **specs))(params, *batch)
    in_axes = (None, *(0 for _ in batch))
    if kind == "pmap":
        mapped = jax.pmap(body, axis_name="data", in_axes=in_axes, devices=jax.devices()[:n])
    else:
        mapped = jax.jit(jax.vmap(body, axis_name="data", in_axes=in_axes))
    replicated, rows = mapped(params, *(x.reshape(n, -1, *x.shape[1:]) for x in batch))
    return jax.tree.map(lambda x: x[0], replicated), jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), rows)


def assert_close(actual, desired, tolerance, message=""):
    """Every leaf within `tolerance` of the leaf's norm."""
    for (path, want), got in zip(jax.tree.leaves_with_path(desired), jax.tree.leaves(actual), strict=True):
        error = np.linalg.norm(np.asarray(got, np.float64) - want) / np.linalg.norm(want)
        assert error <= tolerance, f"{message} {jax.tree_util.keystr(path)}: relative error {error:.1e}"
