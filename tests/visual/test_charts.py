"""Charts, maps and tables of the report: what they show stands in the SVG, and numbers are round."""

import base64
import re

import cv2
import numpy as np
import pytest

from ssl_jax.augment.lab import rgb_to_lab
from ssl_jax.visual import images, maps, page
from ssl_jax.visual.charts import chart, thinned, ticks
from ssl_jax.visual.sections import curves


@pytest.mark.parametrize("low, high", [(0, 1), (0.13, 0.97), (-3e-4, 5e-4), (1, 250_000), (99.2, 99.4)])
def test_ticks_are_a_few_round_numbers_inside(low, high):
    found = ticks(low, high)
    assert 2 <= len(found) <= 6 and low <= found[0] and found[-1] <= high
    steps = np.diff(found)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)
    assert f"{steps[0]:.0e}"[0] in "125"


def test_a_chart_holds_every_curve_in_its_frame_and_says_them_in_words():
    steps = np.arange(1, 1001)
    drawn = chart("Loss", {"loss": (steps, 5.0 / steps), "a < b": (steps, np.ones(1000))}, warnings=[500, 5000])
    paths = re.findall(r'class="curve l\d"[^>]*? d="M([^"H]+)"', drawn)
    for path in paths:
        x, y = np.array(path.split(), float).reshape(-1, 2).T
        assert len(x) <= 241 and np.all(np.diff(x) > 0) and x.min() >= 48 and x.max() <= 348
        assert y.min() >= 8 and y.max() <= 166
    assert len(paths) == 2 and drawn.count('class="warned"') == 1  # the other is beyond the curve
    assert "Loss over the steps: loss from 5 to 0.005; a &lt; b from 1 to 1" in drawn


def test_one_point_and_a_flat_curve_are_drawn():
    assert "nan" not in chart("One", {"x": ([3], [0.0])}) + chart("Flat", {"x": ([1, 2], [7.0, 7.0])})


def test_thin_curves_keep_their_mean_and_their_end():
    values = np.random.default_rng(0).normal(size=2400)
    steps, thin = thinned(np.arange(2400), values)
    assert len(thin) == 241 and thin[-1] == values[-1]
    np.testing.assert_allclose(thin[:-1].mean(), values.mean(), atol=1e-9)


def test_metrics_that_differ_in_a_number_share_a_chart():
    rows = [{"step": 1, "loss": 1.0, "accuracy_1": 0.5, "accuracy_10": 0.2, "accuracy_2": 0.4, "knn_top1": 0.1}]
    run = type("Run", (), {"rows": rows, "events": []})
    titles = re.findall(r"<b>(.*?)</b>", curves.show(run))
    assert titles == ["Loss", "Top-1 of labels", "Accuracy"]
    assert curves.show(run).index("Accuracy 2") < curves.show(run).index("Accuracy 10")


def test_classes_have_marks_of_their_own_up_to_twenty():
    labels = np.repeat(np.arange(25), np.arange(25, 0, -1))
    groups, names = maps.marks_of(labels, ["zero"])
    assert names[:2] == ["zero", "1"] and len(names) == 20
    assert set(groups[labels >= 20]) == {-1} and set(groups[labels < 20]) == set(range(20))
    drawn = maps.scatter(np.random.default_rng(0).normal(size=(len(labels), 2)), groups, "PCA", "points")
    marks = set(re.findall(r'class="(k\d)" d="M\S+ \d+(m[^"M]*)', drawn))
    assert len(marks) == 20 and drawn.count('class="others"') == 1  # colour and shape tell every class


def test_principal_components_are_those_of_the_covariance():
    rows = np.random.default_rng(0).normal(size=(50, 6)) * np.array([5, 3, 1, 1, 1, 1.0])
    places, shares = maps.principal(rows)
    values = np.sort(np.linalg.eigvalsh(np.cov(rows.T)))[::-1]
    np.testing.assert_allclose(places.var(axis=0, ddof=1), values[:2], rtol=1e-9)
    np.testing.assert_allclose(shares, values[:2] / values.sum(), rtol=1e-9)
    assert maps.principal(np.ones((4, 1)))[0].shape == (4, 2)


def test_words_do_not_cover_one_another():
    names = [f"word{i}" for i in range(20)] + ["<b>", "<i>"]
    drawn = maps.words(np.array([[0.5, 0.5]] * 20 + [[1.0, 1.0], [0.0, 0.0]]), names, "words")
    found = re.findall(r'class="word" x="(\d+)" y="(\d+)">([^<]*)<', drawn)
    assert found[0][2] == "word0" and found[-2][2] == "&lt;b&gt;" and len(found) == 10  # the others find no room
    lines = [int(y) for x, y, _ in found if x == found[0][0]]
    assert drawn.count("<circle") == 22 and np.diff(sorted(lines)).min() >= 12


def test_a_png_holds_the_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    held = base64.b64decode(images.png(pixels).removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(held, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], pixels)
    assert 'width="14" height="10" alt="a &quot;b&quot;"' in images.img(pixels, 'a "b"', width=14)


def test_views_are_shown_without_their_normalisation():
    view = (np.full((2, 2, 1), 0.75) - 0.5) / 0.25
    assert np.unique(images.to_pixels(view, (0.5,), (0.25,))) == 191
    lab = np.asarray(rgb_to_lab(np.array([[[1.0, 0.0, 0.0], [0.2, 0.4, 0.6]]])))
    assert images.to_pixels(lab).tolist() == [[[255, 0, 0], [51, 102, 153]]]
    contrast = np.array([-50.0, 0.0, 50.0]).reshape(1, 3, 1) * np.ones((1, 1, 3))
    assert images.to_pixels(contrast)[0, :, 0].tolist() == [0, 128, 255]


def test_text_is_escaped_everywhere():
    html = page.page("<x>", "<w>", [("A & B", page.missing("<y>"))], "<z>")
    html += page.table(("<t>",), [("<c>",)], caption="<u>") + maps.legend(["<n>"], False)
    assert not re.search(r"<[xwyztcn]>", html) and len(re.findall(r"&lt;\w&gt;", html)) == 9
    assert "<h2>A &amp; B</h2>" in html
