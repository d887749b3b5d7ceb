"""Classification of fixed features: the paper's protocol, and a sweep whose winner is chosen on held-out rows.

They differ in arguments alone. `PAPER` is SimCLR's protocol (one learning rate, raw features); the defaults of
`linear_probe` train every pair of learning rate and weight decay on standardised features in one vectorised run.
`BATCH_NORM` has a batch norm without scale and offset in front instead (MAE), `MLP` two hidden layers.
"""

from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from ssl_jax.evaluation.features import shuffled_ranks, statistics
from ssl_jax.evaluation.labels import check

# SimCLR, arXiv 2002.05709, appendix B.6 and the README of its code: SGD with Nesterov momentum 0.9, learning rate
# 0.1 * batch / 256, cosine decay, no warm-up. ImageNet: 90 epochs at batch 4096, weight decay 1e-6; CIFAR-10: these.
PAPER = dict(learning_rates=(0.1,), weight_decays=(0.0,), epochs=100, batch_size=512, standardised=False)
# MAE, arXiv 2111.06377, appendix A.1, where SGD is LARS with batches of 16,384.
BATCH_NORM = dict(standardised=False, batch_norm=True)
NORM_EPSILON, NORM_MOMENTUM = 1e-6, 0.1
# Two hidden layers of 200 units, as the non-linear classifiers of rotation prediction, arXiv 1803.07728, section 3.1,
# which have a batch norm in front of each ReLU.
MLP = dict(hidden=(200, 200), learning_rates=(0.01, 0.03, 0.1), weight_decays=(1e-4, 1e-3, 1e-2))

# Counts of words, of which each document has few: a rare word's column must not be stretched to unit variance.
SPARSE = dict(learning_rates=(1.0, 3.0, 10.0, 30.0), weight_decays=(0.0, 1e-4, 1e-3), standardised=False)


class LinearResult(NamedTuple):
    """The winner's test accuracy and settings; accuracies are fractions."""

    top1: float
    learning_rate: float  # at batch 256
    weight_decay: float
    validation_top1: float | None  # None where nothing was chosen
    sweep: tuple[tuple[float, float, float], ...]  # (learning rate, weight decay, validation top-1) of every candidate


def linear_probe(
    train_x, train_y, test_x, test_y, *, num_classes: int,
    learning_rates=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0), weight_decays=(0.0, 1e-3), epochs: int = 100,
    batch_size: int = 256, standardised: bool = True, batch_norm: bool = False, hidden: tuple[int, ...] = (),
    validation=None, held_out: float = 0.2, seed: int = 0,
) -> LinearResult:
    """Test accuracy of softmax regression on fixed features, its settings chosen without the test rows.

    1. Every (learning rate, weight decay) trains a head, all in one run, on the training rows less `held_out` of each
       class (on all of them where a `validation` set is given).
    2. The head with the best top-1 on the rows held out wins; equal ones are told apart by their cross-entropy.
    3. The winner's settings train on all training rows, and that head meets the test rows. One candidate skips 1 and 2.

    SGD with Nesterov momentum 0.9, learning rate `learning_rate * batch_size / 256` with cosine decay to 0 and no
    warm-up, L2 decay of the kernel, initial head 0. An epoch drops the rows that do not fill a batch; every epoch has
    another order.

    Args:
      train_x: float [N, F]; train_y: int [N] in `0..num_classes - 1`. test_x: float [M, F]; test_y: int [M], -1 for
        a class that is not among them.
      learning_rates: at batch 256. weight_decays: coefficient of `|kernel|^2 / 2`.
      batch_size: reduced to the number of rows where there are fewer.
      standardised: columns get zero mean and unit variance, by the statistics of `train_x`.
      batch_norm: columns are normalised by every batch's mean and variance in training, by their running means in the
        test, as `torch.nn.BatchNorm1d(affine=False, eps=1e-6)` does.
      hidden: widths of hidden layers with ReLU, () for a linear classifier.
      validation: features and labels `(x, y)` to choose on, or None to hold out training rows.
      held_out: fraction of every class held out where `validation` is None.

    Raises:
      ValueError: features and labels that `evaluation.labels.check` refuses; no rows can be held out.

    >>> x = np.concatenate([np.full((20, 1), -1.0), np.full((20, 1), 1.0)]).astype(np.float32)
    >>> y = np.repeat([0, 1], 20)
    >>> linear_probe(x, y, x, y, num_classes=2, epochs=5).top1
    1.0

    Kornblith et al. 2019, arXiv 1805.08974; SimCLR, arXiv 2002.05709, section 2.2.
    """
    check(train_x, train_y, test_x, test_y, num_classes=num_classes)
    if validation is not None:
        check(train_x, train_y, *validation, num_classes=num_classes)
    width = train_x.shape[1]
    mean, std = statistics(train_x) if standardised or batch_norm else (np.zeros(width, np.float32), None)
    if not standardised:  # the norm takes any mean away itself; without it, float32 keeps more digits
        std = np.ones(width, np.float32)
    x, y = jnp.asarray(train_x, jnp.float32), jnp.asarray(train_y, jnp.int32)
    rng = np.random.default_rng(seed)
    candidates = tuple(product(learning_rates, weight_decays))

    def train(rows, chosen):
        size = min(batch_size, len(rows))
        rates, decays = np.array(chosen, np.float32).T
        return _train_heads(
            x, y, rows, mean, std, rates * size / 256, decays, jax.random.key(seed),
            num_classes=num_classes, epochs=epochs, batch_size=size, batch_norm=batch_norm, hidden=hidden,
        )

    everything = np.arange(len(train_x))
    winner, validation_top1, sweep = candidates[0], None, ()
    if len(candidates) > 1:
        if validation is None:
            counts = np.bincount(train_y, minlength=num_classes)
            held = shuffled_ranks(train_y, rng) < np.round(held_out * counts)[train_y]
            if not held.any() or held.all():
                raise ValueError(
                    f"A sweep needs validation rows, and holding out {held_out} of {len(train_x)} training rows leaves "
                    "one side empty; pass validation=(x, y), one learning rate, or more training rows."
                )
            rows, validation = everything[~held], (train_x[held], train_y[held])
        else:
            rows = everything
        top1, loss = _score(train(rows, candidates), validation[0], validation[1], mean, std)
        best = np.lexsort((np.nan_to_num(loss, nan=np.inf), -top1))[0]
        winner, validation_top1 = candidates[best], float(top1[best])
        sweep = tuple((*candidate, float(value)) for candidate, value in zip(candidates, top1, strict=True))
    top1, _ = _score(train(everything, [winner]), test_x, test_y, mean, std)
    return LinearResult(float(top1[0]), *winner, validation_top1, sweep)


@partial(jax.jit, static_argnames=("num_classes", "epochs", "batch_size", "batch_norm", "hidden"))
def _train_heads(
    x, y, rows, mean, std, learning_rates, weight_decays, key, *, num_classes, epochs, batch_size, batch_norm=False,
    hidden=(),
):  # fmt: skip
    """One head for each learning rate [L]: kernel [L, F, C], bias [L, C]; all of them see the same batches."""
    steps = len(rows) // batch_size

    def train(learning_rate, weight_decay):
        optimizer = optax.chain(
            optax.add_decayed_weights(weight_decay, mask=lambda head: jax.tree.map(lambda leaf: leaf.ndim > 1, head)),
            optax.sgd(optax.cosine_decay_schedule(learning_rate, epochs * steps), momentum=0.9, nesterov=True),
        )

        def step(carry, batch):
            head, state, running = carry
            features = (x[batch] - mean[None]) / std[None]
            if batch_norm:
                features, running = _normalised(features, running)

            def loss(head):
                logits = _logits(head, features)
                return optax.softmax_cross_entropy_with_integer_labels(logits, y[batch]).mean()

            updates, state = optimizer.update(jax.grad(loss)(head), state, head)
            return (optax.apply_updates(head, updates), state, running), None

        def epoch(carry, key):
            order = jax.random.permutation(key, rows)[: steps * batch_size]
            return lax.scan(step, carry, order.reshape(steps, batch_size))

        head = _initial(jax.random.fold_in(key, epochs), (x.shape[1], *hidden, num_classes))
        running = jnp.zeros(x.shape[1]), jnp.ones(x.shape[1])
        carry = (head, optimizer.init(head), running)
        (head, _, running), _ = lax.scan(epoch, carry, jax.random.split(key, epochs))
        return _with_norm(head, *running) if batch_norm else head

    return jax.vmap(train)(learning_rates, weight_decays)


def _initial(key, widths):
    """The last layer 0; hidden ones N(0, 2 / inputs) (He et al. 2015, arXiv 1502.01852)."""
    *hidden, last = zip(widths[:-1], widths[1:], strict=True)
    head = {"kernel": jnp.zeros(last), "bias": jnp.zeros(last[1])}
    for i, (shape, own) in enumerate(zip(hidden, jax.random.split(key, len(widths)), strict=False)):
        kernel = jax.random.normal(own, shape) * (2 / shape[0]) ** 0.5
        head[f"hidden_{i}"] = {"kernel": kernel, "bias": jnp.zeros(shape[1])}
    return head


def _normalised(features, running):
    """The features by their own mean and variance, and the running ones afterwards, whose variance is unbiased."""
    mean, variance, count = features.mean(axis=0), features.var(axis=0), len(features)
    new = mean, variance * (count / max(count - 1, 1))
    running = tuple((1 - NORM_MOMENTUM) * old + NORM_MOMENTUM * now for old, now in zip(running, new, strict=True))
    return (features - mean[None]) / jnp.sqrt(variance + NORM_EPSILON)[None], running


def _with_norm(head, mean, variance):
    """The head of features before a norm with these statistics: its first layer takes the norm in."""
    first = head.get("hidden_0", head)
    kernel = first["kernel"] / jnp.sqrt(variance + NORM_EPSILON)[:, None]
    shift = jnp.matmul(mean[None], kernel, precision=lax.Precision.HIGHEST)[0]
    first = {"kernel": kernel, "bias": first["bias"] - shift}
    return head | ({"hidden_0": first} if "hidden_0" in head else first)


def _logits(head, features):
    for i in range(len(head) - 2):
        layer = head[f"hidden_{i}"]
        features = jnp.matmul(features, layer["kernel"], precision=lax.Precision.HIGHEST) + layer["bias"][None]
        features = jax.nn.relu(features)
    return jnp.matmul(features, head["kernel"], precision=lax.Precision.HIGHEST) + head["bias"][None]


def _score(heads, x, y, mean, std, block: int = 1024):
    """Top-1 and cross-entropy of every head on the rows, [L] each."""
    parts = [_block_sums(heads, x[i : i + block], y[i : i + block], mean, std) for i in range(0, len(x), block)]
    correct, loss = np.sum(jax.device_get(parts), axis=0, dtype=np.float64) / len(x)
    return correct, loss


@jax.jit
def _block_sums(heads, x, y, mean, std):
    def sums(head):
        logits = _logits(head, (x - mean[None]) / std[None])
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return jnp.stack([jnp.sum(jnp.argmax(logits, axis=1) == y).astype(jnp.float32), jnp.sum(loss)])

    return jax.vmap(sums, out_axes=1)(heads)
