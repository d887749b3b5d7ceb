"""What the protocol `finetune` trains: a run's method built for training on labels, batches of its data, devices."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from ssl_jax import methods
from ssl_jax.augment.views import view
from ssl_jax.data import pipeline
from ssl_jax.defaults.check import EVAL, FINETUNE
from ssl_jax.encoder import features_of, share_of_sound, with_pool
from ssl_jax.evaluation import finetune, labels


def task(
    config, known: dict, encoders: Callable, train, test, watch: Callable, layer: str | None = None
) -> finetune.Task:
    """The `finetune.Task` of a run.

    Args:
      config: of the run; its encoder drops paths at the rate `config.eval.finetune.drop_path`, where it can.
      known: the facts of the method.
      encoders: `() -> {kind: Encoder}`.
      train, test: sources as `encode` reads them; rows without a label are left out.
      watch: wraps the batches of the test split.
      layer: which the classifier stands on; None for the encoder's output.
    """
    settings, numbers = config.eval.finetune.to_dict(), labels.classes(train.labels)
    train, test = (labels.Labelled(source, numbers) for source in (train, test))
    tuned = ml_collections.ConfigDict(with_pool(config, settings["pool"])).unlock()
    if "drop_path" in tuned.model:
        tuned.model.drop_path = settings["drop_path"]
    rows = min(settings["batch_size"], len(train))
    devices = jax.local_devices()[: math.gcd(rows, jax.local_device_count())]
    mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)

    def place(tree, shared: bool = False):
        return jax.device_put(jax.tree.map(np.asarray, tree), NamedSharding(mesh, P() if shared else P("data")))

    encode = features_of(methods.build(tuned.lock(), known), layer)
    views, uncropped = random_views(tuned), ml_collections.ConfigDict(tuned).unlock()
    uncropped.eval.crop = 0.0
    return finetune.Task(
        encode=encode, views=views,
        encode_views=features_of(methods.build(uncropped.lock(), known), layer) if views else encode,
        networks={kind: (own.params, own.state) for kind, own in encoders().items()},
        batches=lambda size, seed: pipeline.Batches(train, batch_size=size, seed=seed).iterate(),
        test=lambda size: watch(pipeline.sequential(test, size)),
        place=place, examples=len(train), num_classes=train.num_classes, settings=settings,
    )  # fmt: skip


def random_views(config) -> Callable | None:
    """`(keys [b], batch) -> batch` whose images are random crops, mirrored at random, uint8 at the size of training.

    By `config.eval.finetune`: `crop_min`, the least share of a crop's area, 0 for the whole image, and
    `flip_probability`; None where both are 0. Resampled as in `config.augment`.
    """
    settings = config.eval.finetune
    if not (settings.crop_min or settings.flip_probability) or "size" not in config.augment:
        return None
    make = functools.partial(
        view, size=config.augment.size, crop=bool(settings.crop_min), crop_scale=(settings.crop_min, 1.0),
        flip_probability=settings.flip_probability, jitter_probability=0.0, greyscale_probability=0.0,
        blur_probability=0.0, method=config.augment.method, semantics=config.augment.semantics,
    )  # fmt: skip

    def views(keys, batch):
        seen = jax.vmap(lambda key, image, size: make(key, image, original_size=size))
        images = seen(keys, batch["image"], batch.get("size"))
        kept = {name: rows for name, rows in batch.items() if name != "size"}
        return kept | {"image": jnp.round(255 * images).astype(jnp.uint8)}

    return views


def pooled_by(method: methods.Method, layer: str, pool: Callable, where) -> Callable:
    """`(params, state, inputs) -> pool(maps of an inner layer, share)`, jitted; `where`: the devices, a `Parallel`.

    `share`: as in `features.pooled`.
    """
    return jax.jit(
        lambda params, state, inputs: pool(
            method.encode(params, state, inputs, layer=layer), share_of_sound(inputs)
        ),
        out_shardings=where.replicated,
    )


def changed(config, changes: dict):
    """The config of a run with values in place of those of `config.eval`, and with the pooling of tokens it then names.

    `changes`: key -> value; None is no change; that of "finetune" is a text, see `parse`.

    Raises:
      ValueError: a value that a key may not have.
    """
    new = ml_collections.ConfigDict(config).unlock()
    for name, value in changes.items():
        if value is None:
            continue
        if name == "finetune":
            new.eval.finetune = parse(value, new.eval.finetune.to_dict())
        elif not EVAL[name].allows(value):
            raise ValueError(f"--{name} is {value!r}; expected {EVAL[name].says}")
        else:
            new.eval[name] = value
    return with_pool(new.lock(), new.eval.pool)


def parse(text: str, settings: dict) -> dict:
    """`settings` with the values of "epochs=5,mixup=0.8", each of the type that it has there.

    Raises:
      ValueError: a name that is not there, or a value that it may not have.

    >>> parse("epochs=5", {"epochs": 20.0, "batch_size": 128})
    {'epochs': 5.0, 'batch_size': 128}
    """
    changed = dict(settings)
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            changed[name] = type(settings[name])(value)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"--finetune has {part!r}; expected NAME=VALUE with a NAME of {', '.join(settings)}"
            ) from error
        if not FINETUNE[name].allows(changed[name]):
            raise ValueError(f"--finetune has {part!r}; expected {FINETUNE[name].says}")
    return changed
