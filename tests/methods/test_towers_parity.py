"""CLIP and SigLIP beside `CLIPModel` and `SiglipModel` of Hugging Face's transformers, on the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from ssl_jax import methods
from ssl_jax.data import tokenizer
from ssl_jax.methods.parts import published
from ssl_jax.recipes import CONFIGS, config_module

torch = pytest.importorskip("torch", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
transformers = pytest.importorskip("transformers", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
pytestmark = pytest.mark.parity

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
TOKENS, LENGTH, DIMENSION = 40, 7, {"clip": 24, "siglip": 32}


def theirs(method):
    """A small model with random weights away from the initial zeros and ones, in float64."""
    text = SIZE | {"vocab_size": TOKENS, "max_position_embeddings": LENGTH}
    image = SIZE | {"image_size": 16, "patch_size": 8}
    if method == "clip":
        text |= {"eos_token_id": TOKENS - 1, "bos_token_id": TOKENS - 2, "pad_token_id": TOKENS - 1}
        config = transformers.CLIPConfig(text_config=text, vision_config=image, projection_dim=DIMENSION[method])
        model = transformers.CLIPModel(config)
    else:
        config = transformers.SiglipConfig(text_config=text | {"projection_size": 32}, vision_config=image)
        model = transformers.SiglipModel(config)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.double().eval()


def ours(method):
    """The method at the same size, as its full recipe has it otherwise."""
    recipe = {"clip": "wit_vitb32", "siglip": "webli_vitb16"}[method]
    config = ConfigDict(config_module(CONFIGS / f"{method}.py").get_config(recipe).to_dict()).unlock()
    config.compute_dtype = "float64"
    config.model.update(size="nano", patch_size=8)
    config.model.text.update(vocabulary=TOKENS, length=LENGTH, width=32, depth=2, heads=2)
    config.method.dimension = DIMENSION[method]
    config.train.batch_size = 5
    known = {"tokenizer": np.frombuffer(tokenizer.train(["a"], tokenizer.SMALLEST).encode(), np.uint8)}
    return methods.build(config, known)


@pytest.mark.parametrize("method", ["clip", "siglip"])
def test_forward_loss_and_every_gradient(method, x64):
    model, built = theirs(method), ours(method)
    rng = np.random.default_rng(0)
    images, tokens = rng.normal(size=(5, 16, 16, 3)), rng.integers(0, TOKENS - 2, (5, LENGTH)).astype(np.int32)
    for row, end in enumerate((2, 3, 4, 5, 6)):  # texts of many lengths
        tokens[row, end:] = TOKENS - 1
    found = model(
        input_ids=torch.tensor(tokens, dtype=torch.long), pixel_values=torch.tensor(images.transpose(0, 3, 1, 2)),
        return_loss=True,
    )  # fmt: skip
    found.loss.backward()

    tensors = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    params = jax.tree.map(jnp.asarray, published.read(tensors, method))
    batch = {"view_0": jnp.asarray(images), "tokens": jnp.asarray(tokens), "index": jnp.arange(5)}

    @jax.jit
    def loss(params):
        outputs, state = built.embed(params, {"batch_stats": {}}, batch, jax.random.key(0), None, None)
        return built.objective(params, outputs, state, None, None)[0], outputs

    (value, outputs), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    unit = lambda z: z / np.linalg.norm(z, axis=1, keepdims=True)  # noqa: E731
    np.testing.assert_allclose(unit(outputs["z_a"]), found.image_embeds.detach(), atol=1e-9)
    np.testing.assert_allclose(unit(outputs["z_b"]), found.text_embeds.detach(), atol=1e-9)
    assert value == pytest.approx(found.loss.item(), rel=1e-9)
    slopes = published.write(jax.device_get(gradient), method)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(slopes[name], parameter.grad.numpy(), atol=1e-9, err_msg=name)


@pytest.mark.parametrize("method", ["clip", "siglip"])
def test_published_tensors_are_read_and_written(method):
    tensors = {name: value.detach().numpy() for name, value in theirs(method).state_dict().items()}
    written = published.write(published.read(tensors, method), method)
    assert written.keys() == {name for name in tensors if not name.endswith("position_ids")}
    for name, value in written.items():
        np.testing.assert_array_equal(value, tensors[name], err_msg=name)
    with pytest.raises(ValueError, match="no tensor 'logit_scale'"):
        published.read({name: value for name, value in tensors.items() if name != "logit_scale"}, method)
    with pytest.raises(ValueError, match="a tensor 'another'"):
        published.read(tensors | {"another": np.zeros(1)}, method)


def test_tokens_are_those_of_the_clip_tokenizer():
    """transformers' CLIPTokenizer with the same vocabulary and merges."""
    import json

    texts = ["a photo of a cat", "Two dogs,  3 cats!", "woman's café", "it's 42"]
    held = tokenizer.train(texts * 3, 560)
    model = json.loads(held)["model"]
    official = transformers.CLIPTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])
    for text in texts:
        expected = official(text)["input_ids"]
        found = tokenizer.Tokenizer(held, 60)(text, truncate=False)
        assert found[: len(expected)].tolist() == expected and (found[len(expected) :] == expected[-1]).all()
