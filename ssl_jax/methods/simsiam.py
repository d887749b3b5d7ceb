"""SimSiam (Chen and He 2021, arXiv 2011.10566): predict the projection of the other view, whose gradient is stopped.

One network, no negatives, no momentum encoder: each view passes encoder, projector and predictor; a prediction is
pulled to the projection of the other view, and the loss is the mean of the two directions (eq. 2 and algorithm 1).
Batch statistics are those of one view of the global batch. Official code: facebookresearch/simsiam at a7bc177,
simsiam/builder.py.
"""

import jax
from jax import lax

from ssl_jax import losses
from ssl_jax.methods.api import Method, matrices_and_vectors
from ssl_jax.methods.parts import image, networks


def build(config) -> Method:
    """SimSiam from `config.model`, `config.augment` and `config.method`.

    `config.method.stop_gradient`: False lets the projections move to the predictions too, and all embeddings become
    one: a study of what prevents that (section 4.1). The predictor is the parameter group "predictor", whose learning
    rate stays constant by `config.optim.groups.predictor.constant_learning_rate = True`.
    """
    make = networks.make_networks(config, "projector", "predictor")
    as_target = lax.stop_gradient if config.method.stop_gradient else lambda z: z

    def select(out):
        return {
            "features": out[0]["encoder"],
            "z_a": out[0]["predictor"],
            "z_b": as_target(out[1]["projector"]),
            "prediction_1": out[1]["predictor"],
            "target_0": as_target(out[0]["projector"]),
        }

    init, embed = networks.siamese(make, select)

    def objective(params, outputs, state, progress, axis_name):
        pairs = (outputs["z_a"], outputs["z_b"]), (outputs["prediction_1"], outputs["target_0"])
        loss = sum(losses.simsiam(prediction, target, axis_name=axis_name) for prediction, target in pairs) / 2
        return loss, state, {}

    def groups(params):
        return matrices_and_vectors(params) | {"predictor": jax.tree.map(lambda leaf: "predictor", params["predictor"])}

    return Method(
        init=init,
        views=image.two_views(config),
        embed=embed,
        objective=objective,
        encode=networks.encode(make, image.image_inputs(config)),
        groups=groups,
    )
