"""Parameters of CLIP's modified ResNets from the authors' checkpoints, and back, by a table of names.

Names are those of `state_dict()` of openai/CLIP, clip/model.py, which open_clip has taken over; a tensor is a NumPy
array. The vision transformers are on the Hugging Face hub, too, where their names are those of `published`.
`read(tensors)` gives what `configs/clip.py:wit_rn50` trains; blocks and widths are those of the tensors.
"""

import re
from collections.abc import Iterator

import numpy as np

from ssl_jax.methods.parts.published import (
    MATRIX,
    POSITIONS,
    SAME,
    SCALAR,
    dense_rows,
    gathered,
    norm_rows,
    scattered,
)

# Of their TorchScript archives, and numbers of batches seen: they are no parameters.
LEFT_OUT = ("input_resolution", "context_length", "vocab_size", "num_batches_tracked")


def read(tensors: dict[str, np.ndarray]) -> tuple[dict, dict]:
    """The parameters and the batch statistics, `state["batch_stats"]`, of CLIP with a modified ResNet.

    Raises:
      ValueError: a tensor is missing, or there are others than the table names.
    """
    tensors = {name: x for name, x in tensors.items() if not name.endswith(LEFT_OUT)}
    blocks = [1 + _largest(rf"visual\.layer{stage}\.(\d+)\.", tensors) for stage in (1, 2, 3, 4)]
    rows = table(blocks, 1 + _largest(r"transformer\.resblocks\.(\d+)\.", tensors))
    made = gathered(tensors, rows, "CLIP with a modified ResNet by openai/CLIP")
    return made["params"], made["batch_stats"]


def write(params: dict, batch_stats: dict) -> dict[str, np.ndarray]:
    """The inverse of `read`; what is no parameter is not written."""
    blocks = [_largest(rf"stage_{stage}_block_(\d+)$", params["encoder"]) for stage in (1, 2, 3, 4)]
    rows = table(blocks, _largest(r"block_(\d+)$", params["text"]))
    return scattered({"params": params, "batch_stats": batch_stats}, rows)


def _largest(pattern: str, names) -> int:
    """The largest number in the names that begin with a pattern; -1 where there is none."""
    return max((int(found[1]) for found in map(re.compile(pattern).match, names) if found), default=-1)


def table(blocks: list[int], depth: int) -> Iterator[tuple]:
    """`(path, names of its tensors, (there, back))` of every parameter and every batch statistic."""
    params, image, text = "params", "params/encoder", "params/text"
    for i in (1, 2, 3):
        yield from _conv(f"stem_conv_{i}", f"conv{i}")
        yield from _batch_norm(f"stem_norm_{i}", f"bn{i}")
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            ours, theirs = f"stage_{stage}_block_{block + 1}", f"layer{stage}.{block}"
            parts = [(f"conv_{i}", f"norm_{i}", f"conv{i}", f"bn{i}") for i in (1, 2, 3)]
            if block == 0:
                parts.append(("shortcut_conv", "shortcut_norm", "downsample.0", "downsample.1"))
            for conv, norm, their_conv, their_norm in parts:
                yield from _conv(f"{ours}/{conv}", f"{theirs}.{their_conv}")
                yield from _batch_norm(f"{ours}/{norm}", f"{theirs}.{their_norm}")
    yield f"{image}/pool/position_embedding", ["visual.attnpool.positional_embedding"], POSITIONS
    for ours, theirs in {"query": "q_proj", "key": "k_proj", "value": "v_proj", "out": "c_proj"}.items():
        yield from dense_rows(f"{image}/pool/{ours}", f"visual.attnpool.{theirs}")

    yield f"{params}/logit_scale", ["logit_scale"], SCALAR
    yield f"{params}/text_projection/kernel", ["text_projection"], SAME
    yield f"{text}/embedding", ["token_embedding.weight"], SAME
    yield f"{text}/position_embedding", ["positional_embedding"], POSITIONS
    yield from norm_rows(f"{text}/norm", "ln_final")
    for i in range(depth):
        ours, theirs = f"{text}/block_{i + 1}", f"transformer.resblocks.{i}"
        for j in (1, 2):
            yield from norm_rows(f"{ours}/norm_{j}", f"{theirs}.ln_{j}")
        yield f"{ours}/attention/qkv/kernel", [f"{theirs}.attn.in_proj_weight"], MATRIX
        yield f"{ours}/attention/qkv/bias", [f"{theirs}.attn.in_proj_bias"], SAME
        yield from dense_rows(f"{ours}/attention/out", f"{theirs}.attn.out_proj")
        yield from dense_rows(f"{ours}/mlp/dense_1", f"{theirs}.mlp.c_fc")
        yield from dense_rows(f"{ours}/mlp/dense_2", f"{theirs}.mlp.c_proj")


def _conv(ours, theirs):
    yield f"params/encoder/{ours}/kernel", [f"visual.{theirs}.weight"], KERNEL


def _batch_norm(ours, theirs):
    yield from norm_rows(f"params/encoder/{ours}", f"visual.{theirs}")
    for name in ("mean", "var"):
        yield f"batch_stats/encoder/{ours}/{name}", [f"visual.{theirs}.running_{name}"], SAME


KERNEL = lambda xs: xs[0].transpose(2, 3, 1, 0), lambda x, count: [x.transpose(3, 2, 0, 1)]  # [out, in, h, w] in torch
