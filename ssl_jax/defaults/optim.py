"""What `config.optim` may hold."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """What `config.optim.groups.<name>` may hold.

    Attributes:
      learning_rate_factor: multiplies the learning rate.
      constant_learning_rate: the peak rate from the first step to the last, in place of the schedule.
      weight_decay: None means that of the optimizer; a number stays as it is through the run.
      trust_ratio: LARS and LARC only; False leaves the raw learning rate.
      frozen_steps: not trained before this step, without optimizer state; -1 freezes the group for the whole run.
    """

    learning_rate_factor: float = 1.0
    constant_learning_rate: bool = False
    weight_decay: float | None = None
    trust_ratio: bool = True
    frozen_steps: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optim:
    """What `config.optim` may hold, with the value of a key that it leaves out.

    Attributes:
      name: "sgd", "lars", "larc", "adam" (weight decay added to the gradient) or "adamw" (decoupled weight decay).
      learning_rate: the base rate, before `scaling`.
      scaling: "none", "linear" (x batch size / 256) or "sqrt" (x the square root of the batch size).
      weight_decay: coefficient of the parameters.
      weight_decay_end: where given, the coefficient moves to it along half a cosine over the whole run (DINO).
      schedule: "cosine", "cosine_epoch" (moves once an epoch), "linear", "linear_bert" (counted from step 0 of the
        warm-up, which stands in its place at first: the rate jumps down at its end), "step" or "constant".
      warmup_steps, warmup_epochs: length of the linear warm-up; at most one of them. Epochs may be fractional; the
        number of steps is rounded down.
      start_learning_rate, end_learning_rate: the first rate of the warm-up, and the last of a cosine or linear decay,
        not scaled.
      boundaries, decay_factor: "step" only: the epochs from which on the rate is multiplied by the factor.
      momentum, nesterov: sgd, lars and larc.
      b1, b2, eps: adam and adamw.
      bias_correction: adam and adamw: False leaves the moments as they are, as the official code of BERT does.
      trust_coefficient: lars and larc.
      trust_clip: larc: the rate of a parameter is at most the learning rate (solo-learn), not multiplied by it (SwAV).
      momentum_form: lars: "lr_inside" is v = m v + lr g, w -= v (SimCLR); "lr_outside" is v = m v + g, w -= lr v
        (BYOL, MoCo v3, Barlow Twins). They differ while the rate changes.
      clip_norm: largest global norm of the gradients that are not frozen; None or 0 means no clipping.
      clip_per_parameter: every parameter's gradient is clipped to `clip_norm` by itself (DINO).
      groups: name -> `Group`. The group "default" always exists.
    """

    name: str = "sgd"
    learning_rate: float = 0.03
    scaling: str = "linear"
    weight_decay: float = 0.0
    weight_decay_end: float | None = None
    schedule: str = "cosine"
    warmup_steps: int | None = 0
    warmup_epochs: float | None = 0.0
    start_learning_rate: float = 0.0
    end_learning_rate: float = 0.0
    boundaries: tuple[float, ...] = ()
    decay_factor: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    bias_correction: bool = True
    trust_coefficient: float = 1e-3
    trust_clip: bool = False
    momentum_form: str = "lr_inside"
    clip_norm: float | None = 0.0
    clip_per_parameter: bool = False
    groups: Mapping[str, Any] = dataclasses.field(default_factory=dict)


CHOICES = {
    "name": ("sgd", "lars", "larc", "adam", "adamw"),
    "scaling": ("none", "linear", "sqrt"),
    "schedule": ("cosine", "cosine_epoch", "linear", "linear_bert", "step", "constant"),
    "momentum_form": ("lr_inside", "lr_outside"),
}
NOTHING_DECAYS_BUT_MATRICES = {"vectors": {"weight_decay": 0.0, "trust_ratio": False}}
EVERYTHING_DECAYS = {"vectors": {}}
