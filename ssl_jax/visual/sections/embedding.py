"""Where the encoder puts test examples: two principal components, and t-SNE, coloured by label."""

import numpy as np

from ssl_jax.visual import maps
from ssl_jax.visual.page import percent
from ssl_jax.visual.sections import Missing

TITLE = "Embedding map"
FEWEST = 8


def show(run) -> str:
    features, labels = run.features, run.labels
    if len(features) < FEWEST or not np.isfinite(features).all():
        raise Missing(f"it needs {FEWEST} examples or more with finite features, and there are {len(features)}.")
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    groups, names = np.zeros(len(unit), int), []
    if labels is not None:
        groups, names = maps.marks_of(labels, run.classes)
    places, shares = maps.principal(unit)
    by = f"coloured by {len(names)} labels" if names else "without labels"
    alt = f"{len(unit)} test examples as points, {by}"
    figures = [
        maps.scatter(places, groups, f"PCA ({percent(shares.sum())} of the variance)", f"Principal components: {alt}"),
        maps.scatter(neighbour_embedding(unit), groups, "t-SNE", f"t-SNE: {alt}"),
    ]
    key = maps.legend(names, bool((groups < 0).any())) if names else ""
    return (
        f'<p class="soft">Features of {run.source.name}, brought to unit length. In t-SNE only neighbourhoods mean '
        f'something, not distances.</p>{key}<div class="maps">{"".join(figures)}</div>'
    )


def neighbour_embedding(features: np.ndarray) -> np.ndarray:
    """t-SNE `[N, 2]` of `[N, F]`, from the principal components; the same for the same features.

    Source: van der Maaten and Hinton 2008, Visualizing data using t-SNE; scikit-learn's implementation.
    """
    from sklearn.manifold import TSNE

    places, _ = maps.principal(features, min(50, *features.shape))
    if not np.ptp(places, axis=0).any():
        return np.zeros((len(features), 2))
    start = np.zeros((len(places), 2), np.float32)
    start[:, : places.shape[1]] = places[:, :2]
    start *= 1e-4 / max(start[:, 0].std(), 1e-12)
    perplexity = min(30, (len(features) - 1) / 3)
    # The approximation "barnes_hut" is for many points: its threads would wait for one another most of the time.
    model = TSNE(perplexity=perplexity, init=start, method="exact", random_state=0)
    return model.fit_transform(np.float32(places))
