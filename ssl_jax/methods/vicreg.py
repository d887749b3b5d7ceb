"""VICReg (Bardes, Ponce and LeCun 2022, arXiv 2105.04906): variance, invariance and covariance of two views.

Each view passes one encoder and one wide expander (the projector), in a batch of its own. The loss pulls the two
embeddings of an example together, keeps the standard deviation of every dimension at 1 at least, without which all
embeddings become one, and decorrelates the dimensions; of each view by itself. There are no negatives, no teacher, no
predictor, and the embeddings are not normalised. Official code: facebookresearch/vicreg at 4e12602, main_vicreg.py.
"""

from ssl_jax import losses
from ssl_jax.methods.api import Method
from ssl_jax.methods.parts import image, networks


def build(config) -> Method:
    """VICReg from `config.model`, `config.augment` and `config.method`.

    `config.method`: `invariance_weight`, `variance_weight` and `covariance_weight`; without variance the embeddings
    collapse: a study of what it prevents (table 7).
    """
    make = networks.make_networks(config, "projector")
    init, embed = networks.siamese(make)
    weights = {name: config.method[f"{name}_weight"] for name in ("invariance", "variance", "covariance")}

    def objective(params, outputs, state, progress, axis_name):
        terms = losses.vicreg_terms(outputs["z_a"], outputs["z_b"], axis_name=axis_name)
        return sum(weight * terms[name] for name, weight in weights.items()), state, terms

    return Method(
        init=init,
        views=image.two_views(config),
        embed=embed,
        objective=objective,
        encode=networks.encode(make, image.image_inputs(config)),
    )
