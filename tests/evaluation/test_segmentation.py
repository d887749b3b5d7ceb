"""The probe of pixels: shares of cells, the fit against one of pixels, intersection over union against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix, jaccard_score

from ssl_jax.data.arrays import from_arrays
from ssl_jax.evaluation import protocols, segmentation

R = np.random.default_rng(0)
MASKS = R.integers(0, 4, (3, 6, 9)).astype(np.uint8)  # 3 is unlabelled


def test_shares_of_cells_are_counted_pixel_by_pixel():
    wanted = np.zeros((3, 2, 3, 3))
    for n, row, column in np.ndindex(MASKS.shape):
        if MASKS[n, row, column] != 3:
            wanted[n, row // 3, column // 3, MASKS[n, row, column]] += 1 / 9
    np.testing.assert_allclose(segmentation.cell_shares(np.int64(MASKS), (2, 3), 3, 3), wanted)


def test_a_fit_of_cells_is_one_of_their_pixels():
    x = R.normal(size=(18, 4))
    shares = segmentation.cell_shares(np.int64(MASKS), (2, 3), 3, 3).reshape(18, 3)
    labels = np.concatenate([np.repeat(np.arange(3), np.round(9 * row).astype(int)) for row in shares])
    rows = np.repeat(x, np.round(9 * shares.sum(1)).astype(int), axis=0)
    weights = np.full(len(rows), 1 / 9)
    strength = 1 / (segmentation.WEIGHT_DECAY * shares.sum())
    peer = LogisticRegression(C=strength, max_iter=300).fit(rows, labels, sample_weight=weights)
    np.testing.assert_allclose(segmentation.fit(x, shares).coef_, peer.coef_, atol=1e-3)


def test_intersection_over_union_is_that_of_scikit_learn():
    predicted = R.integers(0, 3, MASKS.shape)
    matrix = segmentation.confusion(np.int64(MASKS), predicted, 4, 3)
    true, told = MASKS[MASKS != 3], predicted[MASKS != 3]
    np.testing.assert_array_equal(matrix[:3, :3], confusion_matrix(true, told))
    assert segmentation.mean_iou(matrix) == pytest.approx(jaccard_score(true, told, average="macro"))


@pytest.mark.parametrize("classes", [2, 3])
def test_maps_that_tell_the_classes_give_them_back(classes):
    masks = np.repeat(np.repeat(R.integers(0, classes, (20, 3, 4)), 6, 1), 6, 2)
    features = np.float32(10 * np.eye(classes)[masks[:, ::6, ::6]])
    masks[:, 0] = 9  # unlabelled
    data = {"features": features, "mask": masks.astype(np.uint8)}
    iou, right = segmentation.scores(data, data, unlabelled=9)
    assert iou > 0.7 and right > 0.85  # between the centres of cells it interpolates
    noise = data | {"features": R.normal(size=features.shape).astype(np.float32)}
    assert segmentation.scores(noise, noise, unlabelled=9)[0] < iou - 0.2
    chance_iou, chance = segmentation.most_frequent(data["mask"], data["mask"], 9)
    counts = np.bincount(masks[masks != 9])
    assert chance == pytest.approx(counts.max() / counts.sum())
    assert chance_iou == pytest.approx(chance / classes)


def test_frames_of_one_sequence_are_never_in_both_splits():
    train = {"mask": np.arange(4), "sequence": np.array([0, 0, 1, 2])}
    kept, left_out = segmentation.unseen(train, {"sequence": np.array([1, 3])})
    assert kept["mask"].tolist() == [0, 1, 3] and left_out == 1
    assert segmentation.unseen({"mask": np.arange(4)}, {"mask": np.arange(2)})[1] == 0
    with pytest.raises(ValueError, match="split the data by sequence"):
        segmentation.unseen(train, {"sequence": np.array([0, 1, 2])})


def test_features_that_are_no_maps_are_refused():
    with pytest.raises(ValueError, match="expected maps"):
        segmentation.scores({"features": np.ones((3, 5)), "mask": MASKS}, {"mask": MASKS})


def test_rows_stand_beside_colours_and_the_most_frequent_class():
    images = np.uint8(80 * MASKS[..., None] * np.ones(3, np.uint8))
    sources = [from_arrays({"image": images, "mask": MASKS, "sequence": np.full(3, i)}) for i in (0, 1)]
    maps = {"features": R.normal(size=(3, 3, 3, 2)).astype(np.float32), "mask": MASKS, "sequence": np.zeros(3)}
    asked = []

    def inner(layer, pool, keep, whole):
        asked.append((layer, keep, whole))
        return [("encoder", (maps, maps | {"sequence": np.ones(3)}))]

    context = protocols.Context(
        inner=inner, layers=("block_1", "block_2"), train=sources[0], test=sources[1], split="test", unlabelled=3
    )
    rows = protocols.evaluate(context, ["segmentation"])
    assert asked == [("block_2", ("mask", "sequence"), True)]
    assert [(row["features"], row["metric"], row["layer"]) for row in rows] == [
        (kind, metric, "block_2" if kind == "encoder" else None)
        for kind in ("encoder", "input", "chance") for metric in ("mean_iou", "pixel_top1")
    ]  # fmt: skip
    assert "mean_iou" in protocols.told(rows) and "mean colours" in protocols.told(rows)
