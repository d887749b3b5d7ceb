"""BYOL (Grill et al. 2020, arXiv 2006.07733): predict what a slowly moving target network makes of the other view.

Each view passes encoder, projector and predictor, and the target's encoder and projector; a prediction is pulled to the
target of the other view, in both directions (section 3.1). There are no negatives: what keeps the embeddings apart is
the predictor together with the target, which gets no gradient and follows as a moving average. The target normalises
with the statistics of its own batches. Official code: google-deepmind/deepmind-research at f5de0ed, byol/.
"""

import jax
from jax import lax

from ssl_jax import losses
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import image, networks, teacher
from ssl_jax.methods.parts.precision import wide_dtype

FOLLOWED = ("encoder", "projector")  # by the target; the predictor has none


def build(config) -> Method:
    """BYOL from `config.model`, `config.augment` and `config.method`.

    `config.method`: `momentum`, `momentum_schedule`, `loss_scale`; `target_init`, "copy" of the trained parameters or
    "own"; `predictor`, without which all embeddings become one: a study of what prevents that.
    """
    if config.method.target_init not in ("copy", "own"):
        raise ValueError(f"config.method.target_init is {config.method.target_init!r}; expected 'copy' or 'own'")
    heads = ("projector", "predictor") if config.method.predictor else ("projector",)
    make = networks.make_networks(config, *heads)
    after_update, signals = teacher.build(config, ahead=0)
    own_target, loss_scale = config.method.target_init == "own", config.method.loss_scale
    dtype = wide_dtype(config)

    def init(key, batch):
        key, target_key = jax.random.split(key)
        params, stats = networks.init(make(), key, batch["view_0"])
        target = networks.init(make(), target_key, batch["view_0"])[0] if own_target else params
        return params, {"batch_stats": stats, **teacher.begin(target, stats, FOLLOWED, dtype)}

    def embed(params, state, batch, key, progress, axis_name, train=True):
        online, index = make(axis_name, len(batch["index"])), batch["index"]
        followed = {name: online[name] for name in FOLLOWED}
        stats, target_stats = state["batch_stats"], state["teacher_stats"]
        features, predictions, targets = [], [], []
        for view in (0, 1):
            images, keys = batch[f"view_{view}"], [networks.example_keys(key, index, view + i) for i in (0, 2)]
            out, stats = networks.forward(online, params, stats, images, keys=keys[0], train=train)
            features.append(out["encoder"])
            predictions.append(out[heads[-1]])
            out, target_stats = networks.forward(
                followed, state["teacher"], target_stats, images, keys=keys[1], train=train
            )
            targets.append(lax.stop_gradient(out["projector"]))
        outputs = {"features": features[0], "z_a": predictions[0], "z_b": targets[1]}
        outputs |= {"prediction_1": predictions[1], "target_0": targets[0]}
        return outputs, {**state, "batch_stats": stats, "teacher_stats": target_stats}

    def objective(params, outputs, state, progress, axis_name):
        pairs = (outputs["z_a"], outputs["z_b"]), (outputs["prediction_1"], outputs["target_0"])
        loss = sum(losses.byol(prediction, target, axis_name=axis_name) for prediction, target in pairs)
        return loss_scale * loss, state, {}

    return Method(
        init=init,
        views=image.two_views(config),
        embed=embed,
        objective=objective,
        encode=networks.encode(make, image.image_inputs(config)),
        after_update=after_update,
        adopt=teacher.adopt,
        signals=signals,
    )
