"""MAE beside `ViTMAEForPreTraining` of Hugging Face's transformers, on the same weights and the same noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import losses
from ssl_jax.methods.parts import patches
from ssl_jax.models.mask_decoder import MaskDecoder
from ssl_jax.models.vit import ViT

torch = pytest.importorskip("torch", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
transformers = pytest.importorskip("transformers", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
pytestmark = pytest.mark.parity


def dense(module):
    return {"kernel": module.weight.T, "bias": module.bias}


def norm(module):
    return {"scale": module.weight, "bias": module.bias}


def block(layer):
    attention = layer.attention
    if hasattr(attention, "attention"):  # earlier versions nest them
        q, k, v = (getattr(attention.attention, name) for name in ("query", "key", "value"))
        out, first, last = attention.output.dense, layer.intermediate.dense, layer.output.dense
    else:
        q, k, v, out = attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj
        first, last = layer.mlp.fc1, layer.mlp.fc2
    qkv = {"kernel": torch.cat([x.weight for x in (q, k, v)]).T, "bias": torch.cat([x.bias for x in (q, k, v)])}
    return {
        "norm_1": norm(layer.layernorm_before), "norm_2": norm(layer.layernorm_after),
        "attention": {"qkv": qkv, "out": dense(out)}, "mlp": {"dense_1": dense(first), "dense_2": dense(last)},
    }  # fmt: skip


def test_forward_loss_and_gradient(x64):
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
    given = torch.tensor(images.transpose(0, 3, 1, 2), requires_grad=True)
    found = theirs(pixel_values=given, noise=torch.tensor(noise))
    found.loss.backward()

    embeddings, layers = theirs.vit.embeddings, theirs.vit.encoder.layer if hasattr(theirs.vit, "encoder") else None
    projection = embeddings.patch_embeddings.projection
    encoder = {
        "patch_projection": {
            "kernel": projection.weight.permute(2, 3, 1, 0).reshape(4 * 4 * 3, 32), "bias": projection.bias,
        },
        "class_token": embeddings.cls_token, "norm": norm(theirs.vit.layernorm),
    }  # fmt: skip
    encoder |= {f"block_{i + 1}": block(layer) for i, layer in enumerate(layers or theirs.vit.layers)}
    decoder = {
        "embedding": dense(theirs.decoder.decoder_embed), "mask_token": theirs.decoder.mask_token,
        "norm": norm(theirs.decoder.decoder_norm), "prediction": dense(theirs.decoder.decoder_pred),
    }  # fmt: skip
    decoder |= {f"block_{i + 1}": block(layer) for i, layer in enumerate(theirs.decoder.decoder_layers)}
    params = jax.tree.map(lambda x: jnp.asarray(x.detach().numpy()), {"encoder": encoder, "decoder": decoder})

    vit = ViT(4, 32, 2, 4, positions="sincos_mae", dtype="float64")
    net = MaskDecoder(4 * 4 * 3, 16, 2, 2, dtype="float64")
    order = jnp.argsort(jnp.asarray(noise), axis=1)
    places = patches.rank(order)

    def forward(params, images):
        tokens = vit.apply({"params": params["encoder"]}, images, visible=order[:, :4], layer="tokens")
        prediction = net.apply({"params": params["decoder"]}, tokens, places, (4, 4))
        cut = patches.patchify(images, 4)
        mean, deviation = patches.statistics(cut)
        return losses.masked_reconstruction(prediction, (cut - mean) / deviation, places >= 4), prediction

    (loss, prediction), gradient = jax.value_and_grad(forward, has_aux=True)(params, jnp.asarray(images))
    np.testing.assert_array_equal(places >= 4, found.mask.bool().numpy())
    np.testing.assert_allclose(prediction, found.logits.detach(), atol=1e-5)
    assert loss == pytest.approx(found.loss.item(), abs=1e-5)
    expected = projection.weight.grad.permute(2, 3, 1, 0).reshape(48, 32)
    np.testing.assert_allclose(gradient["encoder"]["patch_projection"]["kernel"], expected, atol=1e-5)
    expected = theirs.decoder.decoder_pred.weight.grad.T
    np.testing.assert_allclose(gradient["decoder"]["prediction"]["kernel"], expected, atol=1e-5)
    np.testing.assert_allclose(gradient["encoder"]["class_token"], embeddings.cls_token.grad, atol=1e-5)
