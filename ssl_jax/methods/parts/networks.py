"""The networks of a method, read from a config, and how they are run: encoder, projector, predictor in sequence.

`make(axis_name) -> {"encoder": module, "projector": module, ...}` describes them; parameters and batch statistics are
dicts of the same names.
"""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax import collectives, models
from ssl_jax.methods.parts.image import resolutions
from ssl_jax.methods.parts.precision import compute_dtype
from ssl_jax.models.heads import MLPHead
from ssl_jax.models.initializers import DENSE_INITS, choose
from ssl_jax.models.norm import BatchNorm
from ssl_jax.models.transformer import exact_gelu

ACTIVATIONS = {"relu": nn.relu, "gelu": exact_gelu}
NORMS = ("none", "hidden", "first_unscaled", "all", "all_unscaled", "all_affine")
NO_EXAMPLE = np.uint32(2**32 - 1)  # what the key of a step is folded with for draws that belong to no example


def make_networks(config, *heads: str, **others: Callable):
    """`axis_name -> {"encoder": module, head: module, ...}`; the heads are those that `config.model` describes.

    `others`: networks of the method's own, such as a decoder: name -> (what makes norms -> module).

    Raises:
      ValueError: an unknown name of a model, size, initialisation or place of norms, or groups that do not share the
        batch evenly.
    """
    batch, groups = config.train.batch_size, config.model.get("norm_groups", 1)
    if not 1 <= groups <= batch or batch % groups:
        raise ValueError(
            f"config.model.norm_groups is {groups} and config.train.batch_size {batch}; expected groups that share the "
            "batch evenly, at least one example each; change one of the two"
        )
    dtype = compute_dtype(config)
    makers = {"encoder": lambda norm: models.build(config.model, norm=norm, dtype=dtype)}
    makers |= {name: _head(config, name) for name in heads} | others
    makers["encoder"](BatchNorm)  # what is wrong with the config is said now

    groups_among = norm_groups(config)

    def make(axis_name=None, rows=batch):
        """The modules for `rows` examples on this device, which decide how many groups batch norm has."""
        norm = partial(
            BatchNorm, axis_name=axis_name, groups=groups_among(rows, axis_name), momentum=config.model.norm_momentum,
            dtype=compute_dtype(config),
        )  # fmt: skip
        return {name: maker(norm) for name, maker in makers.items()}

    return make


def norm_groups(config) -> Callable[..., int]:
    """`(rows on this device, axis_name, train=True) -> number of groups` with batch statistics of their own.

    `config.model.norm_groups` counts those of a whole batch, on all devices. A group keeps its number of examples, so
    that a microbatch has its share of them. Where `train` is false running statistics are used, of any number of rows:
    one group.
    """
    per_group = max(1, config.train.batch_size // config.model.get("norm_groups", 1))

    def groups_among(rows, axis_name, train=True):
        return max(1, rows * collectives.axis_size(axis_name) // per_group) if train else 1

    return groups_among


def init(networks: dict, key, images) -> tuple[dict, dict]:
    """Parameters and batch statistics of networks that stand in sequence."""
    params, stats, x = {}, {}, images
    for name, own_key in zip(networks, jax.random.split(key, len(networks)), strict=True):
        x, variables = networks[name].init_with_output(own_key, x, train=True)
        params[name], stats[name] = variables["params"], variables.get("batch_stats", {})
    return params, stats


def run(network, params, stats, *inputs, train: bool, **options) -> tuple[jax.Array, dict]:
    """One module on its inputs: its output, and its batch statistics afterwards (as they were where `train` is false).

    Methods whose networks do not stand in sequence (two towers, late fusion, encoder and decoder) call this for each.
    """
    variables = {"params": params, "batch_stats": stats}
    if not train:
        return network.apply(variables, *inputs, train=False, **options), stats
    output, updated = network.apply(variables, *inputs, train=True, mutable=["batch_stats"], **options)
    return output, updated.get("batch_stats", {})


def forward(networks: dict, params, stats, images, *, keys=None, group_ids=None, train=True) -> tuple[dict, dict]:
    """Runs networks in sequence.

    Args:
      networks: name -> module.
      params: name -> parameters.
      stats: name -> batch statistics.
      images: float `[b, H, W, C]`.
      keys: PRNG keys `[b]`, one an example, for the encoder's random layers.
      group_ids: int32 `[b]`, see `BatchNorm`.
      train: training mode; running statistics and no random layers otherwise.

    Returns:
      The output of every network, and its batch statistics afterwards.
    """
    outputs, new, x = {}, {}, images
    for name, network in networks.items():
        random = {"keys": keys} if name == "encoder" else {}
        # A checkpoint holds arrays: the statistics of a network without any are not in it.
        of_network = stats.get(name, {})
        x, new[name] = run(network, params[name], of_network, x, train=train, group_ids=group_ids, **random)
        outputs[name] = x
    return outputs, new


def siamese(make, select=None):
    """`Method.init` and `Method.embed` where each of two views passes all networks, in a batch of its own.

    `select(out) -> outputs` chooses the outputs from those of every network for both views, `out[view][name]`. If left
    out: `z_a` and `z_b`, what the last network makes of the two views, and `features`, the encoder's output for one.
    """

    def last(out):
        name = list(out[0])[-1]
        return {"z_a": out[0][name], "z_b": out[1][name], "features": out[0]["encoder"]}

    def initial(key, batch):
        params, stats = init(make(), key, batch["view_0"])
        return params, {"batch_stats": stats}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        networks, stats, out = make(axis_name, len(batch["index"])), state["batch_stats"], []
        for view in (0, 1):
            keys = example_keys(key, batch["index"], view)
            found, stats = forward(networks, params, stats, batch[f"view_{view}"], keys=keys, train=train)
            out.append(found)
        return (select or last)(out), {**state, "batch_stats": stats}

    return initial, embed


def forward_crops(networks: dict, params, stats, batch, key, *, group_ids, train=True) -> tuple[dict, dict]:
    """Runs networks in sequence on every view of a batch, those of one size at once.

    Batch statistics are those of the views of one size in the encoder, and of all views in what follows it, as in the
    official code of SwAV and DINO.

    Args:
      networks, params, stats: see `forward`; the first network is the encoder.
      batch: `view_0`, `view_1`, ... float `[b, H, W, C]`, and `index` int32 `[b]`.
      key: the step's key.
      group_ids: int32 `[b]`, see `BatchNorm`.
      train: see `forward`.

    Returns:
      The output `[views, b, ...]` of every network, and its batch statistics afterwards.
    """
    encoder, *heads = networks
    index, features = batch["index"], []
    for views in resolutions(batch):
        images = jnp.concatenate([batch[f"view_{view}"] for view in views])
        keys = jnp.concatenate([example_keys(key, index, view) for view in views])
        out, new = forward(
            {encoder: networks[encoder]}, params, stats, images,
            keys=keys, group_ids=jnp.tile(group_ids, len(views)), train=train,
        )  # fmt: skip
        features.append(out[encoder])
        stats = {**stats, **new}
    features = jnp.concatenate(features)
    count = len(features) // len(index)
    out, new = forward(
        {name: networks[name] for name in heads}, params, stats, features,
        group_ids=jnp.tile(group_ids, count), train=train,
    )  # fmt: skip
    by_view = {name: jnp.stack(jnp.split(x, count)) for name, x in ({encoder: features} | out).items()}
    return by_view, {**stats, **new}


def example_keys(key, index, view: int):
    """PRNG keys `[b]` of the rows of one view: functions of the step's key and the position in the global batch."""
    key = jax.random.fold_in(jax.random.fold_in(key, NO_EXAMPLE), view)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, index)


def encode(make, prepare):
    """`Method.encode`; `layer` is None for the encoder's output, "projection" for the projector's, or an inner one."""

    def encode_inputs(params, state, inputs, layer=None, keys=None):
        images = prepare(inputs)
        networks, train = make(None, len(images)), keys is not None

        def apply(name, x, **options):
            stats = state.get("batch_stats", {}).get(name, {})
            return run(networks[name], params[name], stats, x, train=train, **options)[0]

        if layer == "projection":
            return apply("projector", apply("encoder", images, keys=keys))
        return apply("encoder", images, keys=keys, layer=layer)

    return encode_inputs


def _head(config, name):
    """The head that `config.model.<name>` describes.

    `hidden_dims` and `output_dim` are widths. `norm` says where batch normalisation stands: "none", "hidden" (after
    every layer but the last), "first_unscaled" (after the first alone, without scale and offset: context prediction),
    "all", whose last norm has a scale and no offset (official SimCLR), "all_unscaled", whose last norm has neither
    (official MoCo v3), or "all_affine", whose last norm has both. `bias`: whether layers that no norm follows have one;
    `hidden_bias` (False if left out): whether hidden layers have one in front of their norm (BYOL, VICReg).
    `activation`: "relu" if left out, or "gelu". `dropout`: rate after hidden layers, 0 if left out.
    """
    head = config.model[name]
    if head.norm not in NORMS:
        raise ValueError(f"config.model.{name}.norm is {head.norm!r}; expected one of {', '.join(NORMS)}")
    inits = choose(DENSE_INITS, head.get("init", "tensorflow"), f"config.model.{name}.init")
    activation = choose(ACTIVATIONS, head.get("activation", "relu"), f"config.model.{name}.activation")

    def make(norm):
        last = {"all": {"use_bias": False}, "all_unscaled": {"use_bias": False, "use_scale": False}, "all_affine": {}}
        last = last.get(head.norm)
        if head.norm == "first_unscaled":
            norm = partial(norm, use_scale=False, use_bias=False)
        return MLPHead(
            hidden_dims=tuple(head.hidden_dims), output_dim=head.output_dim, use_bias=head.get("bias", True),
            hidden_bias=head.get("hidden_bias", False), norm=None if head.norm == "none" else norm,
            output_norm=None if last is None else partial(norm, **last), activation=activation,
            norm_layers=1 if head.norm == "first_unscaled" else None, dropout=head.get("dropout", 0.0),
            dtype=compute_dtype(config), **inits,
        )  # fmt: skip

    return make
