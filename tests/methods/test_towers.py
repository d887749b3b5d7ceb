"""CLIP and SigLIP: the loss by the paper's formula, the clamp, groups, captions drawn, encoders, what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import defaults, encoder, methods
from ssl_jax.data import pipeline, sources, tokenizer
from ssl_jax.methods.parts import towers
from ssl_jax.run import facts
from ssl_jax.train import experiment, optim, parallel
from tests.methods.by_hand import PROGRESS, unit

METHODS = pytest.mark.parametrize("name", ["clip", "siglip"])


@pytest.fixture
def parts(tiny, own_batch):
    """`parts("clip")`: the config, method, views of eight pairs, parameters and state."""

    def make(name, **changes):
        config = tiny(name)
        config.update_from_flattened_dict(changes)
        batch, known = own_batch(config, 8)
        method = methods.build(config, known)
        views = jax.vmap(method.views)(jax.random.split(jax.random.key(1), 8), jax.tree.map(jnp.asarray, batch))
        return config, method, views, *jax.jit(method.init)(jax.random.key(0), views)

    return make


@METHODS
def test_the_loss_is_the_papers(parts, name):
    _, method, views, params, state = parts(name)
    outputs, state = method.embed(params, state, views, jax.random.key(2), PROGRESS, None)
    loss, _, metrics = method.objective(params, outputs, state, PROGRESS, None)
    scale, cosines = {"clip": 1 / 0.07, "siglip": 10.0}[name], unit(outputs["z_a"]) @ unit(outputs["z_b"]).T
    assert metrics["logit_scale"] == pytest.approx(scale, rel=1e-5)
    if name == "clip":
        right = np.diag(scale * cosines)
        rows, columns = (np.log(np.exp(scale * cosines).sum(axis)) for axis in (1, 0))
        expected = np.mean((rows + columns) / 2 - right)
    else:
        signs = 2 * np.eye(8) - 1
        expected = np.log1p(np.exp(-signs * (scale * cosines - 10))).sum() / 8
    assert loss == pytest.approx(expected, rel=1e-4)


def test_the_scale_is_kept_between_1_and_100(parts):
    _, method, _, params, state = parts("clip")
    for given, kept in ((6.0, np.log(100)), (-1.0, 0.0), (2.0, 2.0)):
        after, _ = method.after_update(params | {"logit_scale": jnp.float32(given)}, state, PROGRESS)
        assert after["logit_scale"] == pytest.approx(kept)


def test_gains_biases_and_the_class_token_do_not_decay_and_a_locked_tower_stays(parts):
    config, method, _, params, _ = parts("clip")
    groups = method.groups(params)
    assert groups["logit_scale"] == groups["encoder"]["class_token"] == groups["text"]["norm"]["scale"] == "vectors"
    assert groups["text"]["embedding"] == groups["image_projection"]["kernel"] == "default"
    assert config.optim.groups.vectors.weight_decay == 0 and config.optim.weight_decay > 0
    config.method.locked = True
    _, method, _, params, _ = parts("clip", **{"method.locked": True})
    groups = method.groups(params)
    assert set(jax.tree.leaves(groups["encoder"])) == {"locked"} and groups["text"]["embedding"] == "default"
    optimizer, _ = optim.build(config.optim, params, groups, batch_size=16, steps=5, steps_per_epoch=1)
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
    assert not any(leaf.any() for leaf in jax.tree.leaves(updates["encoder"]))
    assert all(leaf.any() for leaf in jax.tree.leaves(updates["text"]))


def test_kernels_alone_decay_in_siglip(parts):
    """What `.*/kernel$`, the default of the official code, takes: those of attention, of MLPs, patches and heads."""
    config, method, _, params, _ = parts("siglip")
    named = {"/".join(key.key for key in path): name for path, name in jax.tree.leaves_with_path(method.groups(params))}
    kernels = {path for path, name in named.items() if name == "default"}
    assert kernels == {path for path in named if path.endswith("/kernel")}
    block = ("attention/qkv", "attention/out", "mlp/dense_1", "mlp/dense_2")
    pool = ("query", "key_value", "out", "mlp/dense_1", "mlp/dense_2")
    expected = {f"{tower}/block_{i}/{layer}" for tower in ("encoder", "text") for i in (1, 2) for layer in block}
    expected |= {f"encoder/pool/{layer}" for layer in pool} | {"encoder/patch_projection", "text_projection"}
    assert kernels == {f"{layer}/kernel" for layer in expected}
    for path in ("encoder/pool/probe", "encoder/position_embedding", "text/position_embedding", "text/embedding"):
        assert named[path] == "vectors"
    assert config.optim.groups.vectors.weight_decay == 0 and config.optim.weight_decay > 0


def test_a_locked_tower_and_its_batch_statistics_stay_to_the_bit(tiny, own_batch):
    config = tiny("clip")
    config.method.locked, config.optim.weight_decay = True, 0.5
    config.model = defaults.resnet(10, width=1 / 16, text=config.model.text)
    config.train.batch_size, config.parallel.devices = 8, 1
    batch, known = own_batch(config, 8)
    run = experiment.build(config, batch, examples=400, facts=known)
    state = run.create()
    before = jax.device_get(state)
    for _ in range(2):
        state, _ = run.step(state, run.parallel.place(batch))
    for tree in (lambda held: held.params["encoder"], lambda held: held.method["batch_stats"]["encoder"]):
        leaves = jax.tree.map(np.array_equal, tree(before), tree(state))
        assert jax.tree.leaves(leaves) and jax.tree.all(leaves)
    assert not np.array_equal(before.params["text"]["embedding"], state.params["text"]["embedding"])


def test_what_comes_after_the_end_is_not_seen_by_clip_and_is_by_siglip(parts):
    for name, changed in (("clip", False), ("siglip", True)):
        _, method, views, params, state = parts(name)
        tokens = np.asarray(views["tokens"])
        ends = np.argmax(tokens, axis=1)
        row, end = int(np.argmin(ends)), int(np.min(ends))
        other = tokens.copy()
        other[row, end + 1] = 5
        features = [method.encode(params, state, {"tokens": jnp.asarray(x)}) for x in (tokens, other)]
        assert bool(np.any(features[0][row] != features[1][row])) == changed


def test_one_of_several_captions_is_drawn_anew_in_every_epoch(tiny):
    config = tiny("clip")
    image = np.zeros((4, 16, 16, 3), np.uint8)
    source = sources.from_arrays({"image": image, "text": np.array([["a", "b", ""], *[["c", "", ""]] * 3])})
    known = facts.gather(None, config, source)
    rows = methods.read(source, config, known, train=True)
    batches = pipeline.Batches(rows, batch_size=4, seed=0, shuffle=False)
    assert set(batches[0]) == {"image", "tokens", "index", "row"}
    drawn = {batches[epoch]["tokens"][0].tobytes() for epoch in range(12)}
    assert len(drawn) == 2 and all((batches[k]["tokens"][1] == batches[0]["tokens"][2]).all() for k in range(3))
    assert methods.read(source, config, known, train=False) is source
    # Labelled images to classify need no captions; but where some have one, all must.
    digits = methods.read(sources.load("digits", "test"), config, known, train=True)
    assert len(set(pipeline.Batches(digits, batch_size=4, seed=0)[0]["tokens"][0].tolist())) == 2  # start and end
    bare = sources.from_arrays({"image": image, "text": np.array(["a", "", "c", "d"])})
    bare = methods.read(bare, config, known, train=True)
    with pytest.raises(ValueError, match="An image of arrays has no caption"):
        pipeline.Batches(bare, batch_size=4, seed=0, shuffle=False)[0]


@METHODS
def test_encoders_of_images_and_texts_share_a_space(parts, name):
    _, method, views, params, state = parts(name)
    made = encoder.make_encoder(method, parallel.make("shard_map", 1, 1), params, state)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    image, text = made.image(pixels), made.text(["a red circle", "a dog"])
    assert image.shape[1] == text.shape[1] and np.allclose(np.linalg.norm(text, axis=1), 1, atol=1e-5)
    assert made(pixels).shape == (3, 32) and np.allclose(np.linalg.norm(image, axis=1), 1, atol=1e-5)
    many = made.text(["a red circle"] + ["a dog"] * 299)
    np.testing.assert_allclose(many[[0, 1, 299]], text[[0, 1, 1]], atol=1e-5)
    for texts in (iter(["a red circle", "a dog"]), ("a red circle", "a dog"), np.array(["a red circle", "a dog"])):
        np.testing.assert_array_equal(made.text(texts), text)
    for texts in ("a dog", [], [None], ["a dog", None], [["a", "b"]], 3, None, b"a dog", np.array("a dog"), iter(())):
        with pytest.raises(ValueError, match="was given; expected several texts, such as"):
            made.text(texts)
    with pytest.raises(ValueError, match="tokens; expected at most 16"):
        made.text([100 * "long "])
    with pytest.raises(ValueError, match="has no text tower"):
        encoder.Encoder(None, None, {}, {}).text(["a dog"])


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("clip", {"method.temperature": 0.0}, "temperature is 0.0"),
        ("clip", {"method.max_scale": 0.5}, "max_scale 0.5"),
        ("siglip", {"method.dimension": 16}, "has 32 features and no projection"),
        ("clip", {"model.text.pool": "first"}, "pool 'first'"),
        ("clip", {"model.text.length": 8}, "T at most the 8 positions"),
    ],
)
def test_wrong_settings_are_refused(tiny, own_batch, name, changes, message):
    config = tiny(name)
    batch, known = own_batch(config, 8)
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        method = methods.build(config, known)
        views = {"view_0": jnp.zeros((2, 16, 16, 3)), "tokens": jnp.asarray(batch["tokens"][:2])}
        jax.eval_shape(method.init, jax.random.key(0), views)


@pytest.mark.parametrize("text", [["a", "b", " ", "d"], [["a", "b"], ["c", " "], ["", "  "], ["d", ""]]])
def test_a_row_without_a_caption_is_refused_at_the_start(tiny, text):
    source = sources.from_arrays({"image": np.zeros((4, 16, 16, 3), np.uint8), "text": np.array(text)}, "npz:DIR/train")
    with pytest.raises(ValueError, match="Row 2 of npz:DIR/train has no caption; clip needs one or more for every"):
        facts.gather(None, tiny("clip"), source)


def test_captions_are_stripped_and_blank_ones_never_drawn(tiny):
    config = tiny("clip")
    image, text = np.zeros((2, 16, 16, 3), np.uint8), np.array([[" ", "b "], ["a", "a"]])
    source = sources.from_arrays({"image": image, "text": text})
    rows = methods.read(source, config, facts.gather(None, config, source), train=True)
    batches = pipeline.Batches(rows, batch_size=2, seed=0, shuffle=False)
    start, end = batches[0]["tokens"][0, [0, -1]]
    assert {tuple(batches[k]["tokens"][0][:3]) for k in range(8)} == {(start, batches[0]["tokens"][0, 1], end)}
    bare = sources.from_arrays({"image": image, "text": np.array(["a", " "])})
    rows = methods.read(bare, config, facts.gather(None, config, source), train=True)
    with pytest.raises(ValueError, match="An image of arrays has no caption"):
        pipeline.Batches(rows, batch_size=2, seed=0, shuffle=False)[0]


def test_captions_that_are_cut_are_told_once(tiny, capsys, monkeypatch):
    config = tiny("clip")
    text = np.array(["a dog", "a dog " * 20, "b " * 14, "c " * 15])
    source = sources.from_arrays({"image": np.zeros((4, 16, 16, 3), np.uint8), "text": text})
    facts.gather(None, config, source)
    said = "are longer than the 16 tokens of the text tower, and cut\n"
    assert capsys.readouterr().out == f"captions    2 of 4 {said}"
    monkeypatch.setattr(towers, "LOOKED_AT", 2)
    facts.gather(None, config, source)
    assert capsys.readouterr().out == f"captions    1 of the first 2 {said}"
    monkeypatch.setattr(towers, "LOOKED_AT", 1)
    facts.gather(None, config, source)
    assert capsys.readouterr().out == ""


def test_a_vocabulary_whose_end_is_not_its_last_token_is_refused_by_clip_and_taken_by_siglip(tiny, tmp_path):
    held = json.loads(tokenizer.train(["a"], tokenizer.SMALLEST))
    vocabulary, end = held["model"]["vocab"], "<|endoftext|>"
    other = next(token for token, number in vocabulary.items() if number == 1)
    vocabulary["</s>"], vocabulary[other] = 1, vocabulary.pop(end)  # as in the vocabularies of T5 and SigLIP
    held["model"]["unk_token"], held["added_tokens"] = "</s>", []
    (tmp_path / "tokenizer.json").write_text(json.dumps(held))
    for name in ("clip", "siglip"):
        config = tiny(name)
        config.method.tokenizer = str(tmp_path / "tokenizer.json")
        source = sources.load(config.data.source, "train")
        if name == "siglip":
            assert facts.gather(None, config, source)
            continue
        with pytest.raises(ValueError, match="tokenizer.json ends texts with token 1 of 0 to .* set config.model"):
            facts.gather(None, config, source)
        config.model.text.pool = "last"
        assert facts.gather(None, config, source)


def test_data_without_captions_and_a_small_table_are_refused(tiny):
    config = tiny("clip")
    with pytest.raises(ValueError, match="digits/train has no captions; clip needs pairs"):
        facts.gather(None, config, sources.load("digits", "train"))
    config.method.tokenizer = "nowhere.json"
    with pytest.raises(ValueError, match="is no vocabulary"):
        facts.gather(None, config, sources.load(config.data.source, "train"))
