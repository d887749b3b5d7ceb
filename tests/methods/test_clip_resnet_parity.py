"""CLIP with its modified ResNet beside a reference in PyTorch, on the same weights; and the table of its tensors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from ssl_jax import methods
from ssl_jax.data import tokenizer
from ssl_jax.methods.parts import published_openai
from ssl_jax.recipes import CONFIGS, config_module

torch = pytest.importorskip("torch", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
pytestmark = pytest.mark.parity

SIZE, DIMENSION, TOKENS, LENGTH = 64, 24, 40, 7
BLOCKS = (1, 2, 1, 1)


@pytest.fixture(scope="module")
def theirs():
    """A small model with random weights and statistics away from the initial zeros and ones, in float64."""
    from tests.methods import torch_clip

    torch.manual_seed(0)
    model = torch_clip.CLIP(
        blocks=BLOCKS, width=4, outputs=DIMENSION, size=SIZE, vocabulary=TOKENS, length=LENGTH, text_width=32,
        depth=2, heads=2,
    ).double()  # fmt: skip
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.add_(0.1 * (torch.rand_like(value) if "running" in name else torch.randn_like(value)))
    return model


@pytest.fixture(scope="module")
def batch():
    """Four images and texts of many lengths."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, TOKENS - 2, (4, LENGTH)).astype(np.int32)
    for row, end in enumerate((2, 3, 4, 6)):
        tokens[row, end:] = TOKENS - 1
    return rng.normal(size=(4, SIZE, SIZE, 3)), tokens


def ours():
    """The method at the same size, as its full recipe has it otherwise."""
    config = ConfigDict(config_module(CONFIGS / "clip.py").get_config("wit_rn50").to_dict()).unlock()
    config.compute_dtype = "float64"
    config.model.update(blocks=BLOCKS, width=1 / 16, output_dim=DIMENSION)
    config.model.text.update(vocabulary=TOKENS, length=LENGTH, width=32, depth=2, heads=2)
    config.method.dimension, config.augment.size, config.train.batch_size = DIMENSION, SIZE, 4
    known = {"tokenizer": np.frombuffer(tokenizer.train(["a"], tokenizer.SMALLEST).encode(), np.uint8)}
    return methods.build(config, known)


def numpy_state(model):
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("train", [True, False])
def test_forward_loss_statistics_and_every_gradient(theirs, batch, train, x64):
    """In training all of them; by running statistics the embeddings alone."""
    (images, tokens), tensors = batch, numpy_state(theirs)
    params, stats = jax.tree.map(jnp.asarray, published_openai.read(tensors))
    theirs.train(train).zero_grad()
    z_image, z_text, expected = theirs(torch.tensor(images.transpose(0, 3, 1, 2)), torch.tensor(tokens).long())
    built = ours()
    views = {"view_0": jnp.asarray(images), "tokens": jnp.asarray(tokens), "index": jnp.arange(4)}

    def loss(params):
        outputs, state = built.embed(
            params, {"batch_stats": stats}, views, jax.random.key(0), None, None, train=train
        )  # fmt: skip
        return built.objective(params, outputs, state, None, None)[0], (outputs, state)

    if train:
        (value, (outputs, state)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    else:
        value, (outputs, state) = jax.jit(loss)(params)
    np.testing.assert_allclose(outputs["z_a"], z_image.detach(), atol=1e-9)
    np.testing.assert_allclose(outputs["z_b"], z_text.detach(), atol=1e-9)
    np.testing.assert_array_equal(outputs["features"], outputs["z_a"])
    assert value == pytest.approx(expected.item(), rel=1e-9)
    if not train:
        return
    expected.backward()
    after, slopes = numpy_state(theirs), {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    theirs.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})
    found = published_openai.write(*jax.device_get((gradient, state["batch_stats"])))
    assert found.keys() == {name for name in tensors if "num_batches" not in name}
    for name, value in found.items():
        np.testing.assert_allclose(value, after[name] if "running" in name else slopes[name], atol=1e-9, err_msg=name)


def test_published_tensors_are_read_and_written(theirs):
    tensors = numpy_state(theirs)
    written = published_openai.write(*published_openai.read(tensors | {"context_length": np.array(77)}))
    assert written.keys() == {name for name in tensors if "num_batches" not in name}
    for name, value in written.items():
        np.testing.assert_array_equal(value, tensors[name], err_msg=name)
    missing = {name: value for name, value in tensors.items() if name != "visual.attnpool.c_proj.bias"}
    with pytest.raises(ValueError, match=r"no tensor 'visual.attnpool.c_proj.bias'; expected one of CLIP"):
        published_openai.read(missing)
    with pytest.raises(ValueError, match="a tensor 'another' that CLIP"):
        published_openai.read(tensors | {"another": np.zeros(1)})
