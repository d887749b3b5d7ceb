"""DINO (Caron et al. 2021, arXiv 2104.14294): self-distillation without labels, for transformers and ResNets.

All crops of an image pass the student, the two large ones the teacher, whose parameters follow the student's. From
every crop the student predicts the teacher's softmax of the other large crops. Centring keeps the teacher from giving
one output to everything, sharpening (a temperature below the student's) from giving all outputs alike. The paper
evaluates the teacher, and so do `encode` and the online probe. Official code: facebookresearch/dino at 7c446df,
main_dino.py.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import entr

from ssl_jax import losses
from ssl_jax.losses.distillation import teacher_targets
from ssl_jax.losses.embeddings import normalise
from ssl_jax.methods.api import Method, matrices_and_vectors
from ssl_jax.methods.parts import image, networks, teacher
from ssl_jax.methods.parts.precision import compute_dtype, wide_dtype
from ssl_jax.models.heads import WeightNormDense
from ssl_jax.models.norm import contiguous_groups

FOLLOWED = ("encoder", "projector", "last_layer")  # by the teacher: everything


def build(config) -> Method:
    """DINO from `config.model`, `config.augment` and `config.method`.

    `config.method`: `student_temperature`; `teacher_temperature`, which is `warmup_teacher_temperature` in the first of
    `warmup_teacher_temperature_epochs` and rises by equal moves between epochs; `centre` (False: the ablation without
    centring) and `centre_momentum`; `momentum` and `momentum_schedule` of the teacher. `config.model.last_layer`:
    `output_dim`, and whether to `learn_gain` (the official `norm_last_layer` turned round). That layer is the parameter
    group "last_layer", which `config.optim.groups.last_layer.frozen_steps` holds still at first.
    """
    make, last = networks.make_networks(config, "projector"), config.model.last_layer
    last_layer = WeightNormDense(last.output_dim, last.learn_gain, compute_dtype(config))
    after_update, teacher_signals = teacher.build(config, ahead=0)
    method, dtype, norm_groups = config.method, wide_dtype(config), networks.norm_groups(config)
    student_temperature, centring, centre_momentum = method.student_temperature, method.centre, method.centre_momentum
    final, warmup = method.teacher_temperature, method.warmup_teacher_temperature
    warmup_epochs = method.warmup_teacher_temperature_epochs

    def teacher_temperature(progress):
        risen = warmup + (final - warmup) * progress.epoch / max(warmup_epochs - 1, 1)
        return jnp.where(progress.epoch < warmup_epochs, risen, final).astype(dtype)

    def init(key, batch):
        params, stats = networks.init(make() | {"last_layer": last_layer}, key, batch["view_0"])
        centre = jnp.zeros(last_layer.output_dim, dtype)
        return params, {"batch_stats": stats, "centre": centre, **teacher.begin(params, stats, FOLLOWED, dtype)}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        b = len(batch["index"])
        student = make(axis_name, b)
        teacher = student | {"encoder": without_drop_path(student["encoder"])}
        groups = contiguous_groups(b, norm_groups(b, axis_name, train), axis_name)
        out, stats = networks.forward_crops(
            student, params, state["batch_stats"], batch, key, group_ids=groups, train=train
        )
        large = {name: batch[name] for name in ("view_0", "view_1", "index")}
        taught, teacher_stats = networks.forward_crops(
            teacher, state["teacher"], state["teacher_stats"], large, key, group_ids=groups, train=train
        )
        taught = lax.stop_gradient(taught)
        z, t = (jnp.swapaxes(normalise(x["projector"]), 0, 1) for x in (out, taught))
        outputs = {"student": z, "teacher": t, "z_a": z[:, 0], "z_b": t[:, 1], "features": taught["encoder"][0]}
        return outputs, {**state, "batch_stats": stats, "teacher_stats": teacher_stats}

    def compare(params, outputs, state, progress):
        """The loss, and the teacher's logits and targets, `[2, b, K]`."""
        student, teacher = (
            last_layer.apply({"params": tree["last_layer"]}, jnp.swapaxes(outputs[name], 0, 1))
            for name, tree in (("student", params), ("teacher", state["teacher"]))
        )
        centre, temperature = state["centre"], teacher_temperature(progress)
        loss = losses.dino(
            student, teacher, centre, student_temperature=student_temperature, teacher_temperature=temperature
        )
        return loss, teacher, teacher_targets(teacher, centre, temperature)

    def objective(params, outputs, state, progress, axis_name):
        loss, teacher, _ = compare(params, outputs, state, progress)
        if centring:
            centre = losses.update_centre(state["centre"], teacher, momentum=centre_momentum, axis_name=axis_name)
            state = state | {"centre": centre}
        return loss, state, {"teacher_temperature": teacher_temperature(progress)}

    def signals(params, outputs, state, progress):
        # As the loss saw them. The paper's figure 7: without centring or sharpening the divergence goes to 0, and the
        # entropy to 0 or to log K, which counts as 1 here.
        loss, _, targets = compare(params, outputs, state, progress)
        entropy = jnp.mean(jnp.sum(entr(targets), axis=-1))
        scale = math.log(last_layer.output_dim)
        own = {"teacher_entropy": entropy / scale, "teacher_divergence": (loss - entropy) / scale}
        return teacher_signals(params, outputs, state, progress) | own

    def groups(params):
        names = matrices_and_vectors(params)
        return names | {"last_layer": jax.tree.map(lambda name: "last_layer", names["last_layer"])}

    student_or_teacher = networks.encode(make, image.image_inputs(config))

    def encode(params, state, inputs, layer=None, keys=None):
        return student_or_teacher(state["teacher"], {"batch_stats": state["teacher_stats"]}, inputs, layer, keys)

    return Method(
        init=init,
        views=image.multi_crop(config),
        embed=embed,
        objective=objective,
        encode=encode,
        after_update=after_update,
        adopt=teacher.adopt,
        signals=signals,
        groups=groups,
    )


def without_drop_path(encoder):
    """The same network without stochastic depth, which is for the student alone; ResNets have none."""
    return encoder.clone(drop_path=0.0) if hasattr(encoder, "drop_path") else encoder
