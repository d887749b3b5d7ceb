"""What a classifier of colours reaches at context prediction, beside the network of a run; and the run's puzzles.

    python -m benchmarks.context_baseline runs/context_cifar10 [--data=npz:DIR] [--train=4000 --test=2000 --puzzles=200]

The classifiers see the mean colours of the quarters (2 x 2) of both patches of a pair, as the views of the run make
them, and no more: logistic regression, and a perceptron of one hidden layer of 128, of scikit-learn. The puzzles are
the patches of a grid in random order, put together by the network's predictions for all pairs.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ssl_jax import load_encoder, methods
from ssl_jax.augment import puzzle
from ssl_jax.data import sources
from ssl_jax.run import workdir


def batches(method, source, rows: int, count: int, seed: int):
    """Views of the first images of a source, `rows` at a time, drawn with keys of a seed."""
    views = jax.jit(jax.vmap(method.views))
    for start in range(0, min(count, len(source)), rows):
        ids = np.arange(start, min(start + rows, count, len(source)))
        examples = {"image": jnp.asarray(source.rows(ids)["image"]), "index": jnp.asarray(ids, jnp.int32)}
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), examples["index"])
        yield views(keys, examples)


def colours(batch) -> tuple[np.ndarray, np.ndarray]:
    """Mean colours of the quarters of both patches `[b P, 8 C]`, and the directions `[b P]`."""
    found, pairs = np.asarray(batch["view_0"]), np.asarray(batch["pairs"])
    half = found.shape[2] // 2
    halves = slice(0, half), slice(found.shape[2] - half, None)
    means = np.concatenate([found[:, :, y, x].mean((2, 3)) for y in halves for x in halves], axis=-1)
    two = [np.take_along_axis(means, pairs[..., i, None], axis=1) for i in (0, 1)]
    return np.concatenate(two, axis=-1).reshape(-1, 2 * means.shape[-1]), np.asarray(batch["target"]).ravel()


def classifiers(train, test) -> dict[str, float]:
    """The accuracy of each classifier of colours."""
    made = {
        "logistic regression of 2x2 mean colours": LogisticRegression(max_iter=1000),
        "perceptron of 2x2 mean colours": MLPClassifier((128,), early_stopping=True, random_state=0),
    }
    (x, y), (test_x, test_y) = train, test
    return {
        name: make_pipeline(StandardScaler(), model).fit(x, y).score(test_x, test_y) for name, model in made.items()
    }


def every_pair(batch, key):
    """The batch with its patches in random orders `[b, n]` and all pairs of them, and the orders."""
    b, n = batch["view_0"].shape[:2]
    order = jax.vmap(lambda key: jax.random.permutation(key, n))(jax.random.split(key, b))
    pairs = jnp.stack(jnp.meshgrid(jnp.arange(n), jnp.arange(n), indexing="ij"), axis=-1).reshape(1, n * n, 2)
    shuffled = jnp.take_along_axis(batch["view_0"], order[..., None, None, None], axis=1)
    new = {"view_0": shuffled, "pairs": jnp.broadcast_to(pairs, (b, n * n, 2)), "target": jnp.zeros((b, n * n), int)}
    return batch | new, np.asarray(order)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--data", default="", help="instead of the run's own data")
    parser.add_argument("--train", type=int, default=4000, help="images that the classifiers learn from")
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--puzzles", type=int, default=200)
    flags = parser.parse_args()
    config, encoder = workdir.read_config(flags.workdir), load_encoder(flags.workdir)
    method, spec = methods.build(config), flags.data or config.data.source
    train, test = (sources.load(config.data, split, spec=spec) for split in ("train", "test"))
    rows = config.train.batch_size  # batch norm in groups takes no other

    @jax.jit
    def logits(batch):
        return method.embed(encoder.params, encoder.state, batch, jax.random.key(0), None, None, train=False)[0][
            "logits"
        ]

    def gathered(source, count, seed):
        found = [colours(batch) for batch in batches(method, source, rows, count, seed)]
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    seen = gathered(train, flags.train, 1), gathered(test, flags.test, 2)
    told = [
        np.asarray(jnp.argmax(logits(batch), -1) == batch["target"]).ravel()
        for batch in batches(method, test, rows, flags.test, 2)
    ]
    print(f"{len(seen[1][1])} pairs of {min(flags.test, len(test))} test images, of 8 directions: a guess 12.5 %")
    for name, value in (classifiers(*seen) | {"network": np.concatenate(told).mean()}).items():
        print(f"{name:<42}{100 * value:.1f} %")

    grid, right = config.method.grid, []
    for k, batch in enumerate(batches(method, test, rows, flags.puzzles, 3)):
        batch, order = every_pair(batch, jax.random.key(k))
        scores = np.asarray(jax.nn.log_softmax(logits(batch))).reshape(*order.shape, order.shape[1], -1)
        solved = np.stack([puzzle.assemble(one, grid) for one in scores])
        right.append(np.take_along_axis(order, solved, axis=1) == np.arange(grid * grid))
    right = np.concatenate(right)
    print(f"{len(right)} puzzles of {grid} x {grid}: {100 * right.mean():.1f} % of the patches in their place (by "
          f"chance {100 / grid**2:.1f} %), {100 * right.all(axis=1).mean():.1f} % of the puzzles solved")  # fmt: skip


if __name__ == "__main__":
    main()
