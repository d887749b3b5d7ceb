"""Fine-tuning: rates of the layers, weight decay, an AdamW step in NumPy, and the same result on any devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import defaults, methods
from ssl_jax.data import sources
from ssl_jax.data.arrays import from_arrays
from ssl_jax.encoder import features_of
from ssl_jax.evaluation import finetune, protocols
from ssl_jax.tuning import parse, random_views
from ssl_jax.tuning import task as task_of

R = np.random.default_rng(0)
IMAGES = R.integers(0, 256, (96, 4, 4, 1), dtype=np.uint8)
LABELS = (IMAGES.reshape(96, -1)[:, :8].mean(1) > 127).astype(np.int32)
SETTINGS = defaults.FINETUNE | {"epochs": 4.0, "batch_size": 32, "warmup_epochs": 0.0, "learning_rate": 0.4}


def params_of(keys=("patch_projection", "block_1", "norm")):
    made = {name: {"kernel": R.normal(size=(16, 16)) / 4, "bias": np.zeros(16)} for name in keys}
    return {"encoder": jax.tree.map(np.float32, made)}


def encode(params, state, inputs, keys=None):
    x = inputs["image"].reshape(len(inputs["image"]), -1) / 255 - 0.5
    for layer in ("patch_projection", "block_1", "norm"):
        held = params["encoder"][layer]
        x = jnp.tanh(jnp.matmul(x, held["kernel"], precision="highest") + held["bias"][None])
    if keys is not None:
        x = x + 0.01 * jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)
    return x


def task(devices=1, views=None, encode_views=encode, **settings):
    mesh = jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])

    def place(tree, shared=False):
        spec = jax.sharding.PartitionSpec(*([] if shared else ["data"]))
        return jax.device_put(tree, jax.sharding.NamedSharding(mesh, spec))

    def batches(size, seed):
        order = np.random.default_rng(seed).permutation(96)
        while True:
            for start in range(0, 96, size):
                rows = order[start : start + size]
                yield {"image": IMAGES[rows], "label": LABELS[rows]}

    def test(size):
        yield {"image": IMAGES, "label": LABELS, "valid": np.arange(96) < 90}

    networks = {kind: (params_of(), {}) for kind in ("random", "encoder")}
    return finetune.Task(encode, views, encode_views, networks, batches, test, place, 96, 2, SETTINGS | settings)


def test_layers_have_the_rates_of_the_official_code():
    names = ["class_token", "position_embedding", "patch_projection", *(f"block_{i}" for i in range(1, 13)), "norm"]
    found = finetune.layer_scales({"encoder": dict.fromkeys(names, 0), "decoder": {"block_13": 0}}, 0.65)["encoder"]
    wanted = dict(zip(names, [0.65**13] * 3 + [0.65 ** (12 - i) for i in range(12)] + [1.0], strict=True))
    assert found == pytest.approx(wanted)


def test_layers_of_other_encoders():
    bert = dict.fromkeys(["token_embedding", "position_embedding", "norm", "block_1", "block_2"], 0)
    assert finetune.layer_scales({"encoder": bert}, 0.5)["encoder"] == {
        "token_embedding": 0.125, "position_embedding": 0.125, "norm": 0.125, "block_1": 0.25, "block_2": 0.5,
    }  # fmt: skip
    resnet = {"stem_conv": 0, "stage_1": {"block_1": {"conv_1": 0}, "block_2": 0}, "stage_2": {"block_1": 0}}
    assert finetune.layer_scales({"encoder": resnet}, 0.5)["encoder"] == {
        "stem_conv": 0.0625, "stage_1": {"block_1": {"conv_1": 0.125}, "block_2": 0.25}, "stage_2": {"block_1": 0.5},
    }  # fmt: skip
    assert finetune.layer_scales({"encoder": {"conv_1": 0, "dense_1": 0}}, 0.5)["encoder"] == {
        "conv_1": 1.0, "dense_1": 1.0
    }  # fmt: skip


def test_biases_class_tokens_and_positions_do_not_decay():
    block = {"kernel": np.ones((4, 4)), "bias": np.ones(4)}
    params = {"encoder": {"class_token": np.ones((1, 1, 4)), "block_1": block}}
    assert finetune.decays(params) == {"encoder": {"class_token": False, "block_1": {"kernel": True, "bias": False}}}


def test_steps_are_those_of_adamw_with_a_rate_for_every_layer(x64):
    settings = SETTINGS | {"learning_rate": 0.02, "warmup_epochs": 0.5, "weight_decay": 0.1, "layer_decay": 0.5}
    params = {"method": {"encoder": {"block_1": {"kernel": jnp.ones((2, 2))}}}, "head": {"kernel": jnp.ones((2, 2))}}
    optimizer = finetune.make_optimizer(params, settings, 64, 8, 4)  # 8 steps, 2 of warm-up, rate 0.02 x 64 / 256
    moments, w, m, v = optimizer.init(params), np.ones((2, 2)), np.zeros((2, 2)), np.zeros((2, 2))
    for step in range(8):
        gradient = R.normal(size=(2, 2))
        rate = 0.005 * step / 2 if step < 2 else 1e-6 + (0.005 - 1e-6) * (1 + np.cos(np.pi * (step - 2) / 6)) / 2
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        direction = (m / (1 - 0.9 ** (step + 1))) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)
        w = w - 0.5 * rate * (direction + 0.1 * w)
        gradients = jax.tree.map(lambda _, g=gradient: jnp.asarray(g), params)
        updates, moments = optimizer.update(gradients, moments, params)
        params = jax.tree.map(jnp.add, params, updates)
    np.testing.assert_allclose(params["method"]["encoder"]["block_1"]["kernel"], w, rtol=1e-9)


def test_it_learns_and_repeats_itself_on_any_number_of_devices():
    found = [finetune.finetune(task(devices, mixup=0.2, epochs=12.0), "encoder", 0) for devices in (1, 1, 4)]
    assert found[0] == found[1] == found[2] and found[0] > 0.9


def test_views_are_of_training_alone_and_are_another_every_step():
    seen = []

    def views(keys, batch):
        jax.debug.callback(lambda keys: seen.append(keys.tolist()), jax.random.key_data(keys))
        return batch | {"image": 255 - batch["image"]}

    right, wrong = (finetune.finetune(task(views=view, epochs=12.0), "encoder", 0) for view in (None, views))
    assert right > 0.9 and wrong < 0.5

    def of_negatives(params, state, inputs, keys=None):
        return encode(params, state, {"image": 255 - inputs["image"]}, keys)

    assert finetune.finetune(task(encode_views=of_negatives, epochs=12.0), "encoder", 0) < 0.5
    keys = {tuple(key) for step in seen for key in step}
    assert len(seen) == 36 and len(keys) == 36 * 32


def test_views_are_crops_of_the_training_size(tiny):
    config = tiny("mae")
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 1), np.uint8)
    batch, keys = {"image": images, "label": np.arange(4)}, jax.random.split(jax.random.key(0), 4)
    assert random_views(config) is None
    config.eval.finetune.flip_probability = 1.0
    small = images[:, :8, :8]
    whole = random_views(config)(keys, batch | {"image": small, "size": np.full((4, 2), 8)})
    assert whole.keys() == batch.keys() and whole["image"].dtype == jnp.uint8
    np.testing.assert_array_equal(whole["image"], small[:, :, ::-1])
    config.eval.finetune.update(crop_min=0.25, flip_probability=0.0)
    crops = [random_views(config)(keys[np.array(order)], batch)["image"] for order in ((0, 1, 2, 3), (1, 0, 2, 3))]
    assert crops[0].shape == (4, 8, 8, 1)
    np.testing.assert_array_equal(crops[0][2:], crops[1][2:])
    assert (crops[0][0] != crops[1][0]).any()
    mirrored = random_views(config)(keys, {"image": np.tile(images[:1], (4, 1, 1, 1))})["image"]
    assert len(np.unique(np.asarray(mirrored).reshape(4, -1), axis=0)) == 4  # a crop an example


def test_no_border_of_a_random_crop_is_cropped_again(tiny):
    config, digits = tiny("mae"), sources.load("digits", "train")
    config.eval.crop, config.eval.finetune.crop_min = 0.5, 0.5
    made = task_of(config, {}, dict, digits, digits, iter)
    config.eval.crop = 0.0
    whole = methods.build(config)
    inputs = {"image": digits.rows(np.arange(4))["image"]}
    viewed = {"view_0": np.zeros((2, 8, 8, 1), np.float32), "index": np.arange(2)}
    params, state = whole.init(jax.random.key(0), viewed)
    seen, in_test = (np.asarray(encode(params, state, inputs)) for encode in (made.encode_views, made.encode))
    np.testing.assert_array_equal(seen, features_of(whole)(params, state, inputs))
    assert np.abs(seen - in_test).max() > 1e-3 and made.views is not None


def test_rows_of_evaluation_json():
    made = task(epochs=1.0)
    test = from_arrays({"image": IMAGES, "label": np.where(np.arange(96) < 90, LABELS, -1)})
    context = protocols.Context(finetune=lambda: made, test=test, split="test", num_classes=2)
    rows = protocols.evaluate(context, ["finetune"])
    assert [(row["features"], row["metric"], row["n"]) for row in rows] == [
        ("random", "top1", 90), ("encoder", "top1", 90)
    ]  # fmt: skip
    assert "fine-tuned" in protocols.table(rows)


@pytest.mark.parametrize(
    "settings, batch, message",
    [
        ({"mixup": 0.8}, {"tokens": 0, "label": 0}, "mixup are for images, and the data has tokens; set them to 0"),
        ({"crop_min": 0.1, "flip_probability": 0.5}, {"tokens": 0}, "crop_min and .flip_probability are for images"),
        ({"warmup_epochs": 4.0}, {"image": 0}, "warmup_epochs is 4.0 of 4.0 epochs"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, batch, message):
    with pytest.raises(ValueError, match=message):
        finetune.check(SETTINGS | settings, batch, 12, 3)


def test_a_run_that_was_begun_without_settings_gets_the_defaults():
    held = {"eval": {"source": "digits"}}
    assert defaults.fill(held)["eval"]["finetune"] == defaults.FINETUNE
    assert defaults.fill({"eval": {"finetune": {"epochs": 3.0}}})["eval"]["finetune"]["epochs"] == 3.0
    assert defaults.is_default("eval.finetune", dict(defaults.FINETUNE))
    assert not defaults.is_default("eval.finetune", defaults.FINETUNE | {"epochs": 3.0})
    assert defaults.is_default("eval.finetune.epochs", 20.0) and not defaults.is_default("eval.finetune.epochs", 3.0)


def test_settings_on_the_command_line():
    assert parse("epochs=3,batch_size=16", defaults.FINETUNE) == defaults.FINETUNE | {"epochs": 3.0, "batch_size": 16}
    wrong = {"epoch=3": "expected NAME=VALUE", "batch_size=a": "'batch_size=a'", "epochs=0": "above 0"}
    for text, message in wrong.items():
        with pytest.raises(ValueError, match=message):
            parse(text, defaults.FINETUNE)
