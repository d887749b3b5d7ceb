"""BERT beside `BertForPreTraining` of Hugging Face's transformers on the same weights; its tensors read and written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax import losses
from ssl_jax.models.bert import Bert, MaskedHead, NextSentenceHead
from ssl_jax.models.bert_tensors import from_tensors, to_tensors

torch = pytest.importorskip("torch", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
transformers = pytest.importorskip("transformers", reason="needs the parity extra: pip install 'ssl_jax[parity]'")
pytestmark = pytest.mark.parity


def test_forward_loss_gradients_and_tensors(x64):
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=12, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, hidden_act="gelu_new",
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.BertForPreTraining(config).double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    rng = np.random.default_rng(0)
    tokens, segments = rng.integers(1, 50, (3, 12)), np.repeat([[0] * 7 + [1] * 5], 3, axis=0)
    real, labels = np.arange(12) < np.array([[12], [9], [10]]), np.full((3, 12), -100)
    places = np.array([[1, 5], [3, 8], [2, 9]])
    np.put_along_axis(labels, places, rng.integers(0, 50, (3, 2)), axis=1)
    following = np.array([0, 1, 1])
    found = theirs(
        input_ids=torch.tensor(tokens), token_type_ids=torch.tensor(segments), attention_mask=torch.tensor(real).long(),
        labels=torch.tensor(labels), next_sentence_label=torch.tensor(following),
    )  # fmt: skip
    found.loss.backward()
    tensors = {name: value.detach().numpy() for name, value in theirs.state_dict().items()}
    params = jax.tree.map(jnp.asarray, from_tensors(tensors))

    size = dict(vocabulary=50, dtype="float64")
    encoder = Bert(width=32, depth=2, heads=4, positions=12, dropout=0.0, attention_dropout=0.0, **size)
    head, next_head = MaskedHead(**size), NextSentenceHead("float64")

    def forward(params):
        hidden = encoder.apply({"params": params["encoder"]}, tokens, segments, real.astype(int))
        told = head.apply({"params": params["masked_head"]}, jnp.take_along_axis(hidden, places[..., None], axis=1))
        masked, _ = losses.vocabulary_cross_entropy(
            told.reshape(-1, 32), params["encoder"]["token_embedding"], params["masked_head"]["bias"],
            np.take_along_axis(labels, places, axis=1).ravel(), jnp.ones(6), tile=4,
        )  # fmt: skip
        next_logits = next_head.apply({"params": params["next_head"]}, hidden[:, 0])
        return masked + losses.cross_entropy(next_logits, following), (hidden, next_logits)

    (loss, (hidden, next_logits)), gradient = jax.value_and_grad(forward, has_aux=True)(params)
    assert loss == pytest.approx(found.loss.item(), abs=1e-9)
    np.testing.assert_allclose(next_logits, found.seq_relationship_logits.detach(), atol=1e-9)
    ours = to_tensors(gradient)
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(ours[name], parameter.grad, atol=1e-9, err_msg=name)
    written = to_tensors(params)
    assert set(tensors) - set(written) <= {
        "bert.embeddings.position_ids", "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"
    }  # fmt: skip
    for name, value in written.items():
        np.testing.assert_array_equal(value, tensors[name], err_msg=name)
    del tensors["cls.predictions.bias"]
    with pytest.raises(ValueError, match=r"lacks cls\.predictions\.bias"):
        from_tensors(tensors)
