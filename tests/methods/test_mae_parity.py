"""MAE beside `ViTMAEForPreTraining` of Hugging Face's transformers, on the same weights and the same noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import methods
from ssl_jax.methods.parts import patches
from tests.methods.by_hand import PROGRESS

torch = pytest.importorskip("torch", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
transformers = pytest.importorskip("transformers", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
pytestmark = pytest.mark.parity


def tree(theirs, read):
    """`read` of every parameter of theirs, under the names of ours: the parameters themselves, or their gradients."""

    def dense(module):
        return {"kernel": read(module.weight).T, "bias": read(module.bias)}

    def norm(module):
        return {"scale": read(module.weight), "bias": read(module.bias)}

    def block(layer):
        attention = layer.attention
        if hasattr(attention, "attention"):  # earlier versions nest them
            qkv = [getattr(attention.attention, name) for name in ("query", "key", "value")]
            out, first, last = attention.output.dense, layer.intermediate.dense, layer.output.dense
        else:
            qkv = [attention.q_proj, attention.k_proj, attention.v_proj]
            out, first, last = attention.o_proj, layer.mlp.fc1, layer.mlp.fc2
        weights, biases = ([read(getattr(x, name)) for x in qkv] for name in ("weight", "bias"))
        return {
            "norm_1": norm(layer.layernorm_before), "norm_2": norm(layer.layernorm_after),
            "attention": {"qkv": {"kernel": np.concatenate(weights).T, "bias": np.concatenate(biases)},
                          "out": dense(out)},
            "mlp": {"dense_1": dense(first), "dense_2": dense(last)},
        }  # fmt: skip

    vit, decoder = theirs.vit, theirs.decoder
    projection = vit.embeddings.patch_embeddings.projection
    kernel = read(projection.weight).transpose(2, 3, 1, 0).reshape(4 * 4 * 3, 32)
    layers = vit.encoder.layer if hasattr(vit, "encoder") else vit.layers
    return {
        "encoder": {
            "patch_projection": {"kernel": kernel, "bias": read(projection.bias)},
            "class_token": read(vit.embeddings.cls_token), "norm": norm(vit.layernorm),
            **{f"block_{i + 1}": block(layer) for i, layer in enumerate(layers)},
        },
        "decoder": {
            "embedding": dense(decoder.decoder_embed), "mask_token": read(decoder.mask_token),
            "norm": norm(decoder.decoder_norm), "prediction": dense(decoder.decoder_pred),
            **{f"block_{i + 1}": block(layer) for i, layer in enumerate(decoder.decoder_layers)},
        },
    }  # fmt: skip


def test_forward_loss_and_gradient(x64, tiny, monkeypatch):
    config = transformers.ViTMAEConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, image_size=16, patch_size=4,
        decoder_hidden_size=16, decoder_num_hidden_layers=2, decoder_num_attention_heads=2,
        decoder_intermediate_size=64, layer_norm_eps=1e-6, norm_pix_loss=True, mask_ratio=0.75,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.ViTMAEForPreTraining(config)
    # Both fill in fixed positions, which the constructor leaves at 0; the encoder's does nothing once a flag is set.
    theirs.vit.embeddings.patch_embeddings.projection._is_hf_initialized = False
    theirs.vit.embeddings.initialize_weights()
    theirs.decoder.initialize_weights(num_patches=16)
    theirs = theirs.double()
    with torch.no_grad():  # away from the initial zeros and ones
        for name, parameter in theirs.named_parameters():
            if "position_embeddings" not in name and "pos_embed" not in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    rng = np.random.default_rng(0)
    images, noise = rng.normal(size=(3, 16, 16, 3)), rng.random((3, 16))
    found = theirs(pixel_values=torch.tensor(images.transpose(0, 3, 1, 2)), noise=torch.tensor(noise))
    found.loss.backward()

    config = tiny("mae")
    config.model.update(patch_size=4, heads=4)
    config.model.decoder.update(width=16, depth=2, heads=2)
    config.augment.size, config.compute_dtype = 16, "float64"
    method = methods.build(config)
    monkeypatch.setattr(patches, "shuffled", lambda keys, count: jnp.argsort(jnp.asarray(noise), axis=1))
    params = jax.tree.map(jnp.asarray, tree(theirs, lambda parameter: parameter.detach().numpy()))
    batch = {"view_0": jnp.asarray(images), "index": jnp.arange(3)}

    def loss(params):
        outputs, state = method.embed(params, {}, batch, jax.random.key(0), PROGRESS, None)
        return method.objective(params, outputs, state, PROGRESS, None)[0], outputs

    (value, outputs), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    np.testing.assert_array_equal(outputs["masked"], found.mask.bool().numpy())
    np.testing.assert_allclose(outputs["prediction"], found.logits.detach(), atol=1e-5)
    assert value == pytest.approx(found.loss.item(), abs=1e-5)
    expected = tree(theirs, lambda parameter: parameter.grad.numpy())
    assert jax.tree.structure(gradient) == jax.tree.structure(expected)
    for (path, ours), own in zip(jax.tree.leaves_with_path(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, own, atol=1e-8, err_msg=jax.tree_util.keystr(path))
        assert np.abs(own).max() > 1e-6, path
