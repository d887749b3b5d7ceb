"""Optimizers: `config.optim` -> an optax transformation and its learning-rate schedule.

Every optimizer is one chain, in which only the part between the bars differs between the groups of parameters:

    sgd     clip | + weight decay w, x factor                | momentum, x -learning rate
    lars    clip | + weight decay w, x trust ratio, x factor | momentum, x -learning rate, in the order of momentum_form
    larc    clip | `transforms.larc`, x factor               | momentum, x -learning rate
    adam    clip | + weight decay w, adam, x factor          | x -learning rate
    adamw   clip | adam, + weight decay w, x factor          | x -learning rate

with trust ratio = trust_coefficient |w| / |g + weight_decay w|, or 1 where either norm is 0. The learning rate stands
outside of what freezes, so that its step count goes on while a group is frozen, and so does that of the weight decay.
"""

import dataclasses
import difflib
import math
from collections.abc import Collection, Mapping
from typing import Any

import jax
import optax

from ssl_jax.defaults.optim import CHOICES, Group, Optim
from ssl_jax.train import schedules, transforms


def build(
    config: Mapping[str, Any], params: Any, group_names: Any, *, batch_size: int, steps: int, steps_per_epoch: float
) -> tuple[optax.GradientTransformation, schedules.Schedule]:
    """The optimizer of a run and its learning rate as a function of the step.

    Args:
      config: `config.optim`; its keys are the attributes of `Optim`.
      params: the tree of parameters, of which only the structure matters here.
      group_names: a tree like `params` whose leaves name keys of `config.groups`, or "default".
      batch_size: the global batch, for `scaling`.
      steps: length of the run in optimizer steps.
      steps_per_epoch: optimizer steps in an epoch; may be fractional (examples / batch size).

    Returns:
      The transformation (its state is a tree of arrays, the step count among them) and `step -> learning rate`.

    Raises:
      ValueError: an unknown key, name or group, two lengths of warm-up, or a warm-up as long as the run.

    >>> params = {"dense": {"kernel": jax.numpy.ones((2, 2)), "bias": jax.numpy.zeros(2)}}
    >>> config = {"name": "lars", "learning_rate": 0.3, "groups": {"vectors": {"weight_decay": 0.0}}}
    >>> names = {"dense": {"kernel": "default", "bias": "vectors"}}
    >>> optimizer, schedule = build(config, params, names, batch_size=4096, steps=100, steps_per_epoch=10)
    >>> round(float(schedule(0)), 2)
    4.8

    Reference: google-research/simclr, tf2/lars_optimizer.py (lr_inside); facebookresearch/moco-v3, moco/optimizer.py
    and google-deepmind/deepmind-research, byol/utils/optimizers.py (lr_outside).
    """
    optim = _read(Optim, config, "config.optim")
    groups = {"default": Group()}
    groups |= {name: _read(Group, group, f"config.optim.groups.{name}") for name, group in optim.groups.items()}
    if jax.tree.structure(group_names) != jax.tree.structure(params):
        raise ValueError("The tree of group names differs from the tree of parameters: give one name per parameter.")
    for name in jax.tree.leaves(group_names):
        _check_choice(name, groups, "The parameter group (add it to config.optim.groups)")

    def per_group(transform) -> optax.GradientTransformation:
        return optax.partition({name: transform(group) for name, group in groups.items()}, group_names)

    schedule = _schedule(optim, batch_size=batch_size, steps=steps, steps_per_epoch=steps_per_epoch)
    weight_decay = optim.weight_decay
    if optim.weight_decay_end is not None:
        weight_decay = schedules.cosine(weight_decay, optim.weight_decay_end, steps)

    def rate(group):
        return _peak(optim, batch_size) if group.constant_learning_rate else schedule

    def direction(group):
        return _frozen(_direction(optim, group, weight_decay, rate(group)), group.frozen_steps)

    scale = optax.scale_by_learning_rate(schedule)
    if any(group.constant_learning_rate for group in groups.values()):
        scale = per_group(lambda group: optax.scale_by_learning_rate(rate(group)))
    chain = [per_group(direction), scale]
    if optim.name in ("sgd", "lars", "larc"):
        momentum = optax.trace(optim.momentum, optim.nesterov)
        inside = optim.name == "lars" and optim.momentum_form == "lr_inside"
        chain.insert(2 if inside else 1, momentum)
    if optim.clip_norm and optim.clip_per_parameter:
        chain = [transforms.clip_each(optim.clip_norm), *chain]
    elif optim.clip_norm:
        # The gradient of what does not move must not shrink the step of what does.
        moving = per_group(lambda group: _frozen(optax.identity(), group.frozen_steps))
        chain = [moving, optax.clip_by_global_norm(optim.clip_norm), *chain]
    optimizer = optax.chain(*chain)
    return transforms.counted(optimizer) if callable(weight_decay) or optim.trust_clip else optimizer, schedule


def scaled_learning_rate(config: Mapping[str, Any], batch_size: int) -> float:
    """The peak learning rate of a run: `config.learning_rate` under the rule `config.scaling`.

    >>> round(scaled_learning_rate({"learning_rate": 0.075, "scaling": "sqrt"}, 4096), 6)
    4.8
    """
    return _peak(_read(Optim, config, "config.optim"), batch_size)


def learning_rate_factor(config: Mapping[str, Any], group: str) -> float:
    """The factor of the learning rate in a parameter group of `config.optim`; 1 for a group that it does not name."""
    return config.get("groups", {}).get(group, {}).get("learning_rate_factor", 1.0)


def _direction(optim: Optim, group: Group, weight_decay, learning_rate) -> optax.GradientTransformation:
    """What one group does to its gradient between clipping and momentum; the learning rate is not in it."""
    weight_decay = weight_decay if group.weight_decay is None else group.weight_decay
    parts = [transforms.add_weight_decay(weight_decay)] if weight_decay else []
    if optim.name == "larc" and group.trust_ratio:
        at_most = learning_rate if optim.trust_clip else None
        parts = [transforms.larc(optim.trust_coefficient, weight_decay, at_most=at_most)]
    if optim.name == "lars" and group.trust_ratio:
        parts.append(optax.scale_by_trust_ratio(trust_coefficient=optim.trust_coefficient))
    if optim.name in ("adam", "adamw"):
        adam = optax.scale_by_adam(optim.b1, optim.b2, optim.eps)
        if not optim.bias_correction:
            adam = transforms.scale_by_uncorrected_adam(optim.b1, optim.b2, optim.eps)
        parts.insert(0 if optim.name == "adamw" else len(parts), adam)
    return optax.chain(*parts, optax.scale(group.learning_rate_factor))


def _frozen(transform: optax.GradientTransformation, steps: int) -> optax.GradientTransformation:
    """Zero updates and an untouched state before step `steps`; for ever if it is -1."""
    if steps == 0:
        return transform
    if steps == -1:
        return optax.set_to_zero()
    if steps < 0:
        raise ValueError(f"frozen_steps is {steps}: give a number of steps, 0 for none or -1 for the whole run.")
    return optax.conditionally_mask(transform, lambda step: step >= steps)


def _peak(optim: Optim, batch_size: int) -> float:
    factors = {"none": 1.0, "linear": batch_size / 256, "sqrt": math.sqrt(batch_size)}
    return optim.learning_rate * factors[optim.scaling]


def _schedule(optim: Optim, *, batch_size: int, steps: int, steps_per_epoch: float) -> schedules.Schedule:
    peak, start = _peak(optim, batch_size), optim.start_learning_rate
    if optim.warmup_steps and optim.warmup_epochs:
        raise ValueError(
            f"config.optim sets both warmup_steps ({optim.warmup_steps}) and warmup_epochs ({optim.warmup_epochs}): "
            "set one of them to 0."
        )
    # A millionth of a step, so that 0.29 epochs of 100 steps are 29 steps and not 28.
    warmup_steps = optim.warmup_steps or math.floor((optim.warmup_epochs or 0) * steps_per_epoch + 1e-6)
    if warmup_steps >= steps:
        by_epochs = f"warmup_epochs={0.1 * steps / steps_per_epoch:.2g}"
        shorter = f"warmup_steps={steps // 10}" if optim.warmup_steps else by_epochs
        raise ValueError(
            f"The warm-up of {warmup_steps} steps must be shorter than the run of {steps} steps: "
            f"give --config.optim.{shorter}, or train longer."
        )
    if optim.schedule == "constant":
        return schedules.constant(peak, warmup_steps=warmup_steps, start=start)
    if optim.schedule == "step":
        boundaries = [math.ceil(epoch * steps_per_epoch - 1e-6) for epoch in optim.boundaries]
        return schedules.step_decay(peak, boundaries, optim.decay_factor, warmup_steps=warmup_steps, start=start)
    if optim.schedule == "linear":
        return schedules.linear_decay(peak, steps, warmup_steps, start=start, end=optim.end_learning_rate)
    if optim.schedule == "linear_bert":
        return schedules.overlapped_linear_decay(
            peak, steps, warmup_steps, start=start, end=optim.end_learning_rate
        )
    per_epoch = steps_per_epoch if optim.schedule == "cosine_epoch" else None
    return schedules.warmup_cosine(
        peak, steps, warmup_steps, start=start, end=optim.end_learning_rate, steps_per_epoch=per_epoch
    )


def _read(kind: type, config: Mapping[str, Any], where: str) -> Any:
    """`config` as a dataclass of this kind, refusing keys and choices that it does not know."""
    names = [field.name for field in dataclasses.fields(kind)]
    for key in config:
        _check_choice(key, names, f"The key in {where}")
    read = kind(**{key: config[key] for key in config})
    for key, choices in CHOICES.items() if kind is Optim else ():
        _check_choice(getattr(read, key), choices, f"{where}.{key}")
    return read


def _check_choice(given: str, choices: Collection[str], what: str) -> None:
    if given not in choices:
        near = difflib.get_close_matches(str(given), choices, n=1)
        hint = f"did you mean {near[0]!r}? Choices" if near else "choose one of"
        raise ValueError(f"{what} is {given!r}, which is unknown: {hint}: {', '.join(choices)}.")
