"""A linear classifier that learns beside the encoder, on features it cannot influence: a cheap look at progress."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from ssl_jax import collectives


@dataclasses.dataclass(frozen=True)
class OnlineProbe:
    """Softmax regression on stop-gradient features, trained by Adam with the run's own batches.

    Attributes:
      num_classes: the number of classes, C.
      learning_rate: Adam's, constant.
      numbers: the labels of the classes, rising; rows with another one, such as -1, are left out. None for the labels
        0 to C - 1, which every row then has.
    """

    num_classes: int
    learning_rate: float = 1e-3
    numbers: tuple[int, ...] | None = None

    def init(self, feature_dim: int) -> dict:
        """Zero weights and Adam's moments."""
        params = {"kernel": jnp.zeros((feature_dim, self.num_classes)), "bias": jnp.zeros((self.num_classes,))}
        return {"params": params, "optimizer": optax.adam(self.learning_rate).init(params)}

    def update(self, state: dict, features, labels, axis_name: str | None) -> tuple[dict, dict]:
        """One step on the global batch.

        Args:
          state: as `init` made it.
          features: [b, F]; no gradient flows into them.
          labels: int32 [b].
          axis_name: the mesh axis, None on one device.

        Returns:
          The new state, and `probe_loss` and `probe_top1` of the global batch before the update; nan where none of its
          rows has a label.
        """
        features = jax.lax.stop_gradient(features).astype(jnp.promote_types(features.dtype, jnp.float32))
        mean, count = jnp.mean, None
        if self.numbers is not None:
            numbers = jnp.array(self.numbers, jnp.int32)
            place = jnp.minimum(jnp.searchsorted(numbers, labels), len(numbers) - 1)
            labelled, labels = numbers[place] == labels, place
            count = collectives.pmean(jnp.sum(labelled, dtype=features.dtype), axis_name)

            def mean(values):  # whose mean over devices is that over the labelled rows of the global batch
                return jnp.sum(values, where=labelled) / jnp.where(count > 0, count, 1)

        def local_loss(params):
            logits = jnp.matmul(features, params["kernel"], precision="highest") + params["bias"][None]
            loss = mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
            return loss, mean(logits.argmax(axis=-1) == labels)

        (loss, top1), gradients = jax.value_and_grad(local_loss, has_aux=True)(state["params"])
        gradients, loss, top1 = collectives.pmean((gradients, loss, top1), axis_name)
        updates, optimizer = optax.adam(self.learning_rate).update(gradients, state["optimizer"])
        params = optax.apply_updates(state["params"], updates)
        found = {"probe_loss": loss, "probe_top1": top1}
        if count is not None:
            found = {name: jnp.where(count > 0, value, jnp.nan) for name, value in found.items()}
        return {"params": params, "optimizer": optimizer}, found
