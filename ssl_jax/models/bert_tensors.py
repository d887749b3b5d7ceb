"""Published BERT checkpoints: their tensors by name, as parameters and back.

The names are those of `pytorch_model.bin` or `model.safetensors` of `BertForPreTraining`; reading such a file is left
to its library: `from_tensors(safetensors.numpy.load_file("model.safetensors"))`.
"""

import re
from collections.abc import Mapping

import numpy as np

# tensor -> path of the parameter; {i} is the number of a block, from 0 on in the tensor and from 1 on in the parameter
KERNELS = {
    "bert.encoder.layer.{i}.attention.output.dense": "encoder/block_{i}/attention/out",
    "bert.encoder.layer.{i}.intermediate.dense": "encoder/block_{i}/mlp/dense_1",
    "bert.encoder.layer.{i}.output.dense": "encoder/block_{i}/mlp/dense_2",
    "bert.pooler.dense": "next_head/pooler",
    "cls.seq_relationship": "next_head/classifier",
    "cls.predictions.transform.dense": "masked_head/dense",
}
NORMS = {
    "bert.embeddings.LayerNorm": "encoder/norm",
    "bert.encoder.layer.{i}.attention.output.LayerNorm": "encoder/block_{i}/norm_1",
    "bert.encoder.layer.{i}.output.LayerNorm": "encoder/block_{i}/norm_2",
    "cls.predictions.transform.LayerNorm": "masked_head/norm",
}
ARRAYS = {
    "bert.embeddings.word_embeddings.weight": "encoder/token_embedding",
    "bert.embeddings.position_embeddings.weight": "encoder/position_embedding",
    "bert.embeddings.token_type_embeddings.weight": "encoder/segment_embedding",
    "cls.predictions.bias": "masked_head/bias",
}
PARTS = tuple(f"bert.encoder.layer.{{i}}.attention.self.{name}" for name in ("query", "key", "value"))
QKV = "encoder/block_{i}/attention/qkv"


def from_tensors(tensors: Mapping[str, np.ndarray]) -> dict:
    """The parameters that published tensors hold, nested dicts of float arrays.

    Raises:
      ValueError: a tensor is missing.
    """
    params: dict = {}
    for path, names, kind in _entries(_depth(tensors)):
        missing = [name for name in names if name not in tensors]
        if missing:
            raise ValueError(f"The checkpoint lacks {missing[0]}; expected the tensors of BertForPreTraining")
        held = [np.asarray(tensors[name]) for name in names]
        value = np.concatenate([one.T if kind == "kernel" else one for one in held], axis=-1)
        *folders, last = path.split("/")
        inner = params
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[last] = value
    return params


def to_tensors(params: Mapping) -> dict[str, np.ndarray]:
    """The tensors of parameters, by their published names; the inverse of `from_tensors`."""
    tensors = {}
    for path, names, kind in _entries(sum(name.startswith("block_") for name in params["encoder"])):
        value = params
        for name in path.split("/"):
            value = value[name]
        parts = np.split(np.asarray(value), len(names), axis=-1)
        tensors |= {name: part.T if kind == "kernel" else part for name, part in zip(names, parts, strict=True)}
    return tensors


def _depth(tensors) -> int:
    numbers = [re.match(r"bert\.encoder\.layer\.(\d+)\.", name) for name in tensors]
    return 1 + max((int(found[1]) for found in numbers if found), default=-1)


def _entries(depth: int):
    """`(path of a parameter, names of the tensors that it holds side by side, kind)` of a whole model."""
    for name, path in ARRAYS.items():
        yield path, (name,), "array"
    for table, kinds in ((KERNELS, ("kernel", "bias")), (NORMS, ("scale", "bias"))):
        for name, path in table.items():
            for i in range(depth) if "{i}" in name else (0,):
                for kind in kinds:
                    tensor = f"{name.format(i=i)}.{'bias' if kind == 'bias' else 'weight'}"
                    yield f"{path.format(i=i + 1)}/{kind}", (tensor,), kind
    for i in range(depth):
        for kind, suffix in (("kernel", "weight"), ("bias", "bias")):
            yield f"{QKV.format(i=i + 1)}/{kind}", tuple(f"{part.format(i=i)}.{suffix}" for part in PARTS), kind
