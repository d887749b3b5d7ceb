"""Parameters of CLIP and SigLIP from published checkpoints, and back, by a table of names.

Names are those of the files on the Hugging Face hub, `model.safetensors` of `openai/clip-vit-base-patch32`,
`google/siglip-base-patch16-224` and the like; a tensor is a NumPy array. `read(tensors, "clip")` gives what
`configs/clip.py:wit_vitb32` trains, and `build` its method with these parameters.
"""

import math
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax import methods
from ssl_jax.data import tokenizer
from ssl_jax.methods.parts import towers

NORMS = {"scale": "weight", "bias": "bias"}
PROBED = ("query", "key_value")  # of SigLIP's pooling, where torch has the queries' third and the rest in one tensor


def read(tensors: dict[str, np.ndarray], method: str) -> dict:
    """The parameters of `method`, "clip" or "siglip", as nested dicts of arrays, float32 or wider.

    Raises:
      ValueError: a tensor is missing, or there are others than the table names.
    """
    tensors = {name: x for name, x in _cut(tensors).items() if not name.endswith("position_ids")}
    rows = table(method, depth(tensors, "vision"), depth(tensors, "text"))
    return gathered(tensors, rows, f"{method} by transformers")


def write(params: dict, method: str) -> dict[str, np.ndarray]:
    """The inverse of `read`."""
    depths = (sum(name.startswith("block_") for name in params[tower]) for tower in ("encoder", "text"))
    return _joined(scattered(params, table(method, *depths)))


def build(config, params: dict, batch_stats: dict | None = None) -> tuple[methods.Method, dict, dict]:
    """The method of a config with published parameters, from which `encoder.make_encoder` makes an encoder.

    Args:
      config: a recipe of the same networks, with the published vocabulary as `config.method.tokenizer`.
      params: as `read` returns them.
      batch_stats: those that `published_openai.read` returns beside the parameters; None without batch norm.

    Returns:
      The method, its parameters and its state.

    Raises:
      ValueError: no vocabulary or one that does not fit, or parameters of other networks.

    Example (not run here: it needs a checkpoint):

        config.method.tokenizer = "tokenizer.json"
        method, params, state = build(config, read(safetensors.numpy.load_file("model.safetensors"), "clip"))
    """
    if not config.method.tokenizer:
        raise ValueError("config.method.tokenizer is ''; expected the vocabulary of the checkpoint, a tokenizer.json")
    method = methods.build(config, towers.vocabulary_facts(tokenizer.read(config.method.tokenizer), config))
    side, length = config.augment.size, config.model.text.length
    views = {"view_0": np.zeros((2, side, side, 3), np.float32), "tokens": np.zeros((2, length), np.int32)}
    made = {"params": params, "state": {"batch_stats": batch_stats or {}}}
    own = dict(zip(made, jax.eval_shape(method.init, jax.random.key(0), views), strict=True))
    given, wanted = _shapes(made), _shapes(own)
    other = next((path for path in wanted | given if wanted.get(path) != given.get(path)), None)
    if other is not None:
        raise ValueError(
            f"{other} is {given.get(other, 'not')} in the checkpoint and {wanted.get(other, 'not')} in the networks of "
            "the config; take the recipe that has the sizes of the checkpoint"
        )
    arrays = jax.tree.unflatten(jax.tree.structure(own), map(jnp.asarray, jax.tree.leaves(made)))
    return method, arrays["params"], arrays["state"]


def _shapes(tree) -> dict[str, list[int]]:
    return {"/".join(key.key for key in path): [*np.shape(leaf)] for path, leaf in jax.tree.leaves_with_path(tree)}


def gathered(tensors: dict[str, np.ndarray], rows: Iterable[tuple], kind: str) -> dict:
    """Nested dicts of arrays out of tensors, by the rows of a table: see `table`.

    Raises:
      ValueError: a tensor is missing, or there are others than the table names; `kind` says of what.
    """
    made, used = {}, set()
    for path, names, (there, _) in rows:
        missing = [name for name in names if name not in tensors]
        if missing:
            raise ValueError(f"The checkpoint has no tensor {missing[0]!r}; expected one of {kind}")
        *folders, last = path.split("/")
        place = made
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = there([_wide(tensors[name]) for name in names])
        used |= set(names)
    others = sorted(tensors.keys() - used)
    if others:
        raise ValueError(f"The checkpoint has a tensor {others[0]!r} that {kind} has no place for")
    return made


def _wide(tensor) -> np.ndarray:
    """At least float32, as parameters are: CLIP's authors store half precision."""
    tensor = np.asarray(tensor)
    return tensor.astype(np.promote_types(tensor.dtype, np.float32), copy=False)


def scattered(made: dict, rows: Iterable[tuple]) -> dict[str, np.ndarray]:
    """The inverse of `gathered`."""
    tensors = {}
    for path, names, (_, back) in rows:
        place = made
        for name in path.split("/"):
            place = place[name]
        tensors |= dict(zip(names, back(np.asarray(place), len(names)), strict=True))
    return tensors


def _cut(tensors):
    """The tensors with `in_proj_*` cut into those of `PROBED`."""
    cut = {name: x for name, x in tensors.items() if "in_proj" not in name}
    for name in tensors.keys() - cut.keys():
        x = np.asarray(tensors[name])
        cut |= {f"{name} {part}": rows for part, rows in zip(PROBED, np.split(x, [len(x) // 3]), strict=True)}
    return cut


def _joined(tensors):
    """The inverse of `_cut`."""
    whole = {name: x for name, x in tensors.items() if "in_proj" not in name}
    for name in {name.split()[0] for name in tensors.keys() - whole.keys()}:
        whole[name] = np.concatenate([tensors[f"{name} {part}"] for part in PROBED])
    return whole


def depth(tensors, tower: str) -> int:
    """The number of blocks of a tower."""
    prefix = f"{tower}_model.encoder.layers."
    return 1 + max((int(name.split(".")[3]) for name in tensors if name.startswith(prefix)), default=-1)


def table(method: str, vision_depth: int, text_depth: int) -> Iterator[tuple]:
    """`(path of a parameter, names of its tensors, (there, back))` for every parameter."""
    of_clip, image, text = method == "clip", "vision_model", "text_model"
    yield "encoder/patch_projection/kernel", [f"{image}.embeddings.patch_embedding.weight"], PATCHES
    yield "encoder/position_embedding", [f"{image}.embeddings.position_embedding.weight"], POSITIONS
    if of_clip:
        yield "encoder/class_token", [f"{image}.embeddings.class_embedding"], TOKEN
        yield from norm_rows("encoder/pre_norm", f"{image}.pre_layrnorm")
        yield "image_projection/kernel", ["visual_projection.weight"], MATRIX
        yield "text_projection/kernel", ["text_projection.weight"], MATRIX
    else:
        yield "encoder/patch_projection/bias", [f"{image}.embeddings.patch_embedding.bias"], SAME
        yield "logit_bias", ["logit_bias"], VECTOR
        yield from dense_rows("text_projection", f"{text}.head")
        head = f"{image}.head"
        yield "encoder/pool/probe", [f"{head}.probe"], SAME
        for name in PROBED:
            yield f"encoder/pool/{name}/kernel", [f"{head}.attention.in_proj_weight {name}"], MATRIX
            yield f"encoder/pool/{name}/bias", [f"{head}.attention.in_proj_bias {name}"], SAME
        yield from dense_rows("encoder/pool/out", f"{head}.attention.out_proj")
        yield from norm_rows("encoder/pool/norm", f"{head}.layernorm")
        yield from _mlp("encoder/pool/mlp", f"{head}.mlp")
    yield "logit_scale", ["logit_scale"], SCALAR if of_clip else VECTOR
    yield "text/embedding", [f"{text}.embeddings.token_embedding.weight"], SAME
    yield "text/position_embedding", [f"{text}.embeddings.position_embedding.weight"], POSITIONS
    yield from norm_rows("text/norm", f"{text}.final_layer_norm")
    yield from norm_rows("encoder/norm", f"{image}.post_layernorm")
    for ours, theirs, blocks in (("encoder", image, vision_depth), ("text", text, text_depth)):
        for i in range(blocks):
            yield from _block(f"{ours}/block_{i + 1}", f"{theirs}.encoder.layers.{i}")


def _block(ours, theirs):
    yield from norm_rows(f"{ours}/norm_1", f"{theirs}.layer_norm1")
    yield from norm_rows(f"{ours}/norm_2", f"{theirs}.layer_norm2")
    attention = f"{theirs}.self_attn"
    parts = [f"{attention}.{name}_proj" for name in "qkv"]
    yield f"{ours}/attention/qkv/kernel", [f"{name}.weight" for name in parts], MATRIX
    yield f"{ours}/attention/qkv/bias", [f"{name}.bias" for name in parts], SAME
    yield from dense_rows(f"{ours}/attention/out", f"{attention}.out_proj")
    yield from _mlp(f"{ours}/mlp", f"{theirs}.mlp")


def _mlp(ours, theirs):
    yield from dense_rows(f"{ours}/dense_1", f"{theirs}.fc1")
    yield from dense_rows(f"{ours}/dense_2", f"{theirs}.fc2")


def dense_rows(ours, theirs):
    yield f"{ours}/kernel", [f"{theirs}.weight"], MATRIX
    yield f"{ours}/bias", [f"{theirs}.bias"], SAME


def norm_rows(ours, theirs):
    for name, other in NORMS.items():
        yield f"{ours}/{name}", [f"{theirs}.{other}"], SAME


def _pixels(kernel, count):
    """`[p p 3, D]` as a convolution of torch, `[D, 3, p, p]`."""
    side = math.isqrt(len(kernel) // 3)
    return [kernel.reshape(side, side, 3, -1).transpose(3, 2, 0, 1)]


# (several tensors -> parameter, parameter and number of tensors -> tensors)
SAME = np.concatenate, lambda x, count: np.split(x, count)
MATRIX = lambda xs: np.concatenate(xs).T, lambda x, count: np.split(x.T, count)  # [out, in] in torch
SCALAR = lambda xs: xs[0].reshape(()), lambda x, count: [x]
VECTOR = lambda xs: xs[0].reshape(()), lambda x, count: [x.reshape(1)]
POSITIONS = lambda xs: xs[0][None], lambda x, count: [x[0]]
TOKEN = lambda xs: xs[0].reshape(1, 1, -1), lambda x, count: [x.reshape(-1)]
PATCHES = lambda xs: xs[0].transpose(2, 3, 1, 0).reshape(-1, xs[0].shape[0]), _pixels
