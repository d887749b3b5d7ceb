"""The report of a run: every section on every kind of data, what is missing in one line, a page for any browser."""

import html.parser
import json
import re

import jax
import numpy as np
import pytest

from ssl_jax import encoder, report
from ssl_jax.data.text import COMMON, TOPICS
from ssl_jax.evaluation import health
from ssl_jax.methods.api import Heatmap, Table
from ssl_jax.run import facts, workdir
from ssl_jax.visual import sections
from ssl_jax.visual.sections.health import verdicts
from tests.browser import Browser, find
from tests.methods.by_hand import prepare

TITLES = [
    "Summary", "Config", "Curves", "Health", "Evaluation", "Embedding map", "Nearest neighbours", "Augmented views",
    "Pictures",
]  # fmt: skip


class Page(html.parser.HTMLParser):
    """Tags of a page; `section(title)` is the HTML of one section."""

    def __init__(self, text):
        super().__init__()
        self.text, self.tags, self.open = text, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "br", "path", "circle", "rect", "image"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def section(self, title):
        found = re.search(rf"<section[^>]*><h2>{title}</h2>(.*?)</section>", self.text, re.DOTALL)
        return found.group(1)


@pytest.fixture
def made(tiny, own_batch, tmp_path, monkeypatch):
    """`made("mae")`: a run directory of an untrained network, with metrics and an evaluation written by hand."""

    def make(method, **changes):
        config = tiny(method)
        config.update_from_flattened_dict(changes)
        batch, known = own_batch(config, 8)
        _, _, params, state = prepare(config, batch, known)
        workdir.prepare(tmp_path, config)
        facts.keep(tmp_path, known)
        row = {"loss": 2.0, "learning_rate": 0.1, "gradient_norm": 1.0, "std": 1.0, "negative_cosine": 0.0}
        rows = [{"step": step, **row, "loss": 2 + 1 / step} for step in range(1, 21)]
        events = [{"event": "warning", "step": 7, "text": "a <sign>"}, {"event": "finished", "step": 20}]
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*rows, *events]))
        common = {"metric": "top1", "std": None, "n": 9, "split": "test", "layer": None, "labels_per_class": None}
        values = {"input": 0.5, "random": 0.25, "encoder": 0.875}
        held = [{"protocol": "knn", "features": kind, "value": value, **common} for kind, value in values.items()]
        workdir.write_json(tmp_path / "evaluation.json", held)
        for module in (encoder, report):
            monkeypatch.setattr(module, "load_model", lambda *where: {"params": params, "method": state})
        monkeypatch.setattr(report, "EXAMPLES", 24)
        return tmp_path

    return make


def written(directory, **options):
    """The page of a run, checked for what every page must hold."""
    page = Page(report.report(directory, **options).read_text())
    assert not page.open and re.findall(r"<h2>(.*?)</h2>", page.text) == TITLES
    anchors = {attributes["id"] for tag, attributes in page.tags if tag == "section"}
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "object")
        for name in ("src", "href", "srcset", "data"):
            value = attributes.get(name, "#")
            assert value.startswith(("data:", "#")) and (value in ("#",) or value[0] == "d" or value[1:] in anchors)
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes.get("aria-label") or attributes["aria-hidden"] == "true"
    said = re.sub(r"base64,[\w+/=]*", "", page.text)
    assert "url(" not in said and not re.search(r"\bnan\b", said)
    return page


def test_images(made):
    page = written(made("mae"))
    assert "Left out" not in page.text
    assert "87.5 %" in page.section("Evaluation") and "kNN +62.5" in page.section("Evaluation")
    assert 'class="ours"' in page.section("Evaluation") and "input pixels" in page.section("Evaluation")
    assert "a &lt;sign&gt;" in page.section("Health") and page.section("Curves").count('class="warned"') >= 2
    assert page.section("Embedding map").count("<figure>") == 2 and "t-SNE" in page.section("Embedding map")
    assert page.section("Nearest neighbours").count("<img") == 8 * 7
    assert "<h3>Reconstruction</h3>" in page.section("Pictures") and "the visible patches" in page.section("Pictures")


def test_sound(made):
    page = written(made("cpc_audio"))
    assert "Left out" not in page.text and "log-mel statistics" in page.section("Evaluation")
    assert page.section("Augmented views").count("<img") == 6
    assert "<h3>Prediction</h3>" in page.section("Pictures") and "Log spectrograms" in page.section("Pictures")


def test_text(made):
    page = written(made("bert"))
    assert "rows of tokens" in page.section("Augmented views") and page.text.count("Left out") == 1
    pictures = page.section("Pictures")
    assert "<h3>Hidden tokens</h3>" in pictures and "____" in pictures and "Attention in block 2" in pictures


def test_words(made):
    page = written(made("word2vec"))
    pictures = page.section("Pictures")
    assert "<h3>Word map</h3>" in pictures and "<h3>Nearest words</h3>" in pictures
    shown = set(re.findall(r'class="word"[^>]*>(\w+)<', pictures))
    assert len(shown) > 5 and shown <= {word for topic in TOPICS.values() for word in topic} | set(COMMON)


def test_images_and_texts(made):
    page = written(made("clip"))
    pictures = page.section("Pictures")
    assert "<h3>Cosines</h3>" in pictures and "<h3>Retrieval</h3>" in pictures
    assert len(re.findall(r">a (?:small|large) \w+ \w+ at the [^<]*</text>", pictures)) >= 8
    assert "Left out" not in page.text


def test_what_is_missing_is_said_in_a_line(made, tmp_path):
    directory = made("simclr")
    for name in ("metrics.jsonl", "environment.json", "evaluation.json"):
        (directory / name).unlink()
    page = written(directory, data="npz:/nowhere", output=tmp_path / "new" / "page.html")
    for title in ("Curves", "Health"):
        assert "Left out: metrics.jsonl holds no rows" in page.section(title)
    assert "Left out: evaluation.json is not there" in page.section("Evaluation")
    for title in ("Embedding map", "Nearest neighbours", "Augmented views"):
        assert "Left out: npz:/nowhere is no directory" in page.section(title)
    assert "Left out: simclr has no pictures of its own" in page.section("Pictures")
    with pytest.raises(ValueError, match="holds no run"):
        report.report(tmp_path / "none")


def test_verdicts_are_those_of_the_watch():
    row = {"std": 0.0, "negative_cosine": 1.0, "gradient_norm": 1.0}
    bad = [{"step": step, **row} for step in range(1, health.WARM_UP + health.PATIENCE + 1)]
    found = verdicts(bad)
    assert set(found) == {"collapse", "no gradient"} and found["no gradient"]["first"] is None
    assert found["collapse"]["first"] == bad[-1]["step"] and found["collapse"]["holds"]
    found = verdicts([*bad, {"step": 99, **row, "std": 1.0}, {"step": 100, **row, "std": "nan"}])
    assert found["collapse"]["first"] == bad[-1]["step"] and not found["collapse"]["holds"]


def test_pictures_of_text_are_what_the_network_tells(tiny, own_batch):
    config = tiny("bert")
    batch, known = own_batch(config, 8)
    method, views, params, state = prepare(config, batch, known)
    found = method.pictures(params, state, views, jax.random.key(0))
    table, maps = found.pop("hidden_tokens"), list(found.values())
    assert isinstance(table, Table) and all(len(row) == 3 and "____" in row[0] for row in table.rows)
    assert len(maps) == 2 and isinstance(maps[0], Heatmap) and len(maps[0].rows) == len(maps[0].values)
    assert np.allclose(maps[0].values.max(axis=1), 1) and np.allclose(maps[0].values.min(axis=1), 0)


@pytest.mark.skipif(find() is None, reason="there is no Chromium to open the page with")
def test_a_browser_opens_it_without_errors_and_requests(made, tmp_path):
    path = report.report(made("simclr"))
    browser = Browser(find(), tmp_path / "profile")
    try:
        colours = set()
        for options in ({}, {"dark": True}, {"width": 390}):
            events = browser.open(path.as_uri(), **options)
            problems = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
            assert [event for event in events if event["method"] in problems] == []
            sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
            assert {url for url in sent if not url.startswith("data:")} == {path.as_uri()}
            assert browser.value("[...document.querySelectorAll('section h2')].map(h => h.innerText)") == TITLES
            assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")  # nothing sticks out
            broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).length"
            assert browser.value(broken) == 0 and browser.value("document.images.length") > 20
            colours.add(browser.value("getComputedStyle(document.body).backgroundColor"))
        assert len(colours) == 2  # light and dark
    finally:
        browser.close()
    assert len(sections.NAMES) == len(TITLES)
