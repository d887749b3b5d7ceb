"""Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230): the cross-correlation of two views is to be the identity.

Each view passes one encoder and one wide projector, in a batch of its own; the loss makes every dimension of the
embedding agree between the views (the diagonal), and different dimensions not repeat one another (the rest), which is
what keeps the embeddings from all becoming one. There are no negatives, no teacher and no predictor. Official code:
facebookresearch/barlowtwins at 8e8d284, main.py.
"""

from ssl_jax import losses
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import image, networks


def build(config) -> Method:
    """Barlow Twins from `config.model`, `config.augment` and `config.method` (`off_diagonal_weight`, `loss_scale`).

    With `off_diagonal_weight = 0` dimensions come to repeat one another: a study of what the redundancy term prevents
    (section 4). The metric `redundancy`, the mean square of the correlations of different dimensions, shows it.
    """
    make = networks.make_networks(config, "projector")
    init, embed = networks.siamese(make)
    off_diagonal_weight, loss_scale = config.method.off_diagonal_weight, config.method.loss_scale

    def objective(params, outputs, state, progress, axis_name):
        terms = losses.barlow_twins_terms(outputs["z_a"], outputs["z_b"], axis_name=axis_name)
        loss = loss_scale * (terms["on_diagonal"] + off_diagonal_weight * terms["off_diagonal"])
        d = outputs["z_a"].shape[1]
        return loss, state, terms | {"redundancy": terms["off_diagonal"] / (d * (d - 1))}

    return Method(
        init=init,
        views=image.two_views(config),
        embed=embed,
        objective=objective,
        encode=networks.encode(make, image.image_inputs(config)),
    )
