"""The networks of CPC_audio: convolutions with channel norm, LSTM, GRU and prediction layers equal PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.models.audio import Audio
from ssl_jax.models.prediction import RelativeLayer

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity
KERNELS, STRIDES, PADDINGS = (10, 8, 4, 4, 4), (5, 4, 2, 2, 2), (3, 2, 1, 1, 1)


def values(parameter):
    return jnp.asarray(parameter.detach().numpy())


def official_frames(convs, norms, x):
    """`CPCEncoder.forward` of cpc/model.py, channel norm written out."""
    for conv, (weight, bias) in zip(convs, norms, strict=True):
        x = conv(x)
        mean, var = x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True)
        x = torch.relu((x - mean) * torch.rsqrt(var + 1e-5) * weight[None, :, None] + bias[None, :, None])
    return x


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_frames_and_contexts_are_those_of_the_official_code(cell):
    torch.manual_seed(0)
    channels, width = 6, 5
    convs = [
        torch.nn.Conv1d(1 if i == 0 else channels, channels, size, stride=stride, padding=padding)
        for i, (size, stride, padding) in enumerate(zip(KERNELS, STRIDES, PADDINGS, strict=True))
    ]
    norms = [(torch.randn(channels), torch.randn(channels)) for _ in convs]
    recurrent = (torch.nn.GRU if cell == "gru" else torch.nn.LSTM)(channels, width, batch_first=True)
    audio = torch.randn(2, 1, 1920)
    with torch.no_grad():
        frames = official_frames(convs, norms, audio).permute(0, 2, 1)
        context = recurrent(frames)[0]

    made = {}
    for i, (conv, norm) in enumerate(zip(convs, norms, strict=True)):
        made[f"conv_{i + 1}"] = {"kernel": values(conv.weight).transpose(2, 1, 0), "bias": values(conv.bias)}
        made[f"norm_{i + 1}"] = {"scale": values(norm[0]), "bias": values(norm[1])}
    inputs, hidden = (jnp.split(values(getattr(recurrent, name)).T, len(gates(cell)), axis=1)
                      for name in ("weight_ih_l0", "weight_hh_l0"))  # fmt: skip
    of_input, of_hidden = (jnp.split(values(getattr(recurrent, name)), len(gates(cell)))
                           for name in ("bias_ih_l0", "bias_hh_l0"))  # fmt: skip
    cells = {}
    for i, gate in enumerate(gates(cell)):
        cells[f"i{gate}"], cells[f"h{gate}"] = {"kernel": inputs[i]}, {"kernel": hidden[i]}
        if cell == "lstm":
            cells[f"h{gate}"]["bias"] = of_input[i] + of_hidden[i]
        elif gate == "n":  # the two biases are apart: the reset gate is between them
            cells["in"]["bias"], cells["hn"]["bias"] = of_input[i], of_hidden[i]
        else:
            cells[f"i{gate}"]["bias"] = of_input[i] + of_hidden[i]
    network = Audio(channels, KERNELS, STRIDES, "channel", cell, width, jnp.float32)
    found = network.apply({"params": {"frames": made, "cell": cells}}, jnp.asarray(audio[:, 0].numpy()), layer="both")
    assert found[0].shape == (2, 12, channels)
    np.testing.assert_allclose(found[0], frames, atol=1e-5)
    np.testing.assert_allclose(found[1], context, atol=1e-5)


def gates(cell):
    """In the order of PyTorch."""
    return ("r", "z", "n") if cell == "gru" else ("i", "f", "g", "o")


def official_layer(x, heads, weights, distances, norms, lin_1, lin_2):
    """`TransformerLayer.forward` of cpc/transformers.py without dropout, with relative positions."""
    b, length, width = x.shape
    size = width // heads
    q, k, v = ((x @ weights[name].T).view(b, length, heads, size).transpose(1, 2).reshape(b * heads, length, size)
               for name in ("query", "key", "value"))  # fmt: skip
    products = torch.bmm(q, k.transpose(-2, -1))
    relative = torch.cat((torch.zeros(b * heads, length, 1), q.matmul(distances)), 2)
    products = products + relative.view(b * heads, length + 1, length)[:, 1:, :]
    mask = torch.triu(torch.full((length, length), -float("inf")), diagonal=1)
    y = torch.bmm(torch.softmax(products / size**0.5 + mask[None], dim=2), v)
    y = y.view(b, heads, length, size).transpose(1, 2).contiguous().view(b, length, width) @ weights["out"].T
    y = norms[0](x + y)
    return norms[1](y + lin_2(torch.relu(lin_1(y))))


def test_prediction_layers_are_those_of_the_official_code():
    torch.manual_seed(0)
    heads, width, length, hidden = 2, 8, 7, 12
    weights = {name: torch.randn(width, width) / 3 for name in ("query", "key", "value", "out")}
    distances = torch.randn(width // heads, length)
    norms = [torch.nn.LayerNorm(width) for _ in range(2)]
    lin_1, lin_2 = torch.nn.Linear(width, hidden), torch.nn.Linear(hidden, width)
    x = torch.randn(3, length, width)
    with torch.no_grad():
        expected = official_layer(x, heads, weights, distances, norms, lin_1, lin_2)
    params = {name: {"kernel": values(weight).T} for name, weight in weights.items()}
    params["distances"] = values(distances).T[::-1]
    for name, layer in (("dense_1", lin_1), ("dense_2", lin_2)):
        params[name] = {"kernel": values(layer.weight).T, "bias": values(layer.bias)}
    for i, norm in enumerate(norms):
        params[f"norm_{i + 1}"] = {"scale": values(norm.weight), "bias": values(norm.bias)}
    layer = RelativeLayer(heads, hidden, 0.1, False, jnp.float32)
    assert jax.tree.structure(params) == jax.tree.structure(
        layer.init(jax.random.key(0), jnp.asarray(x.numpy()), None)["params"]
    )
    np.testing.assert_allclose(layer.apply({"params": params}, jnp.asarray(x.numpy()), None), expected, atol=1e-5)
