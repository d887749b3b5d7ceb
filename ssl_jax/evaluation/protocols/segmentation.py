"""A linear classifier of every pixel on a layer's map, for data with a `mask`; mean intersection over union.

The layer is the one asked for, else the last; images are seen whole. Beside the encoder stand the most frequent class
everywhere, and a classifier of the mean colours of the map's cells. Where the data have a `sequence`, training frames
of sequences that the test split has frames of are left out.
"""

from ssl_jax.evaluation import segmentation

TITLE, NEEDS, INPUT = "pixels", frozenset({"mask", "layers"}), "mean colours"
KEEP = ("mask", "sequence")


def run(context) -> list[dict]:
    """Mean IoU and the share of the pixels that are told, of every kind of features."""
    layer, rows = context.layer or context.layers[-1], []
    kinds = dict(context.inner(layer, lambda maps, share: maps, KEEP, whole=True))
    grid = kinds["encoder"][0]["features"].shape[1:3]
    kinds["input"] = tuple(segmentation.colours(source, grid, KEEP) for source in (context.train, context.test))

    def add(kind, found, n, layer):
        for metric, value in zip(("mean_iou", "pixel_top1"), found, strict=True):
            rows.append(context.row("segmentation", kind, value, n, metric=metric, layer=layer))

    for kind, (train, test) in kinds.items():
        train, left_out = segmentation.unseen(train, test)
        found = segmentation.scores(train, test, unlabelled=context.unlabelled, seed=context.seed)
        add(kind, found, len(test["mask"]), None if kind == "input" else layer)
    add("chance", segmentation.most_frequent(train["mask"], test["mask"], context.unlabelled), len(test["mask"]), None)
    if left_out:
        print(f"segmentation: {left_out} training frames are of sequences of the test split, and left out")
    return rows
