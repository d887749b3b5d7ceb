"""What methods of two towers share: images and their captions, each encoded by a network of its own, into one space.

`image_text(config, facts)` gives all fields of `Method` but the loss; a method's file takes over `facts`, the
vocabulary, and `read`, the captions.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax import models
from ssl_jax.data import tokenizer as bpe
from ssl_jax.data.tokenizer import Tokenizer
from ssl_jax.methods.parts import image, networks
from ssl_jax.methods.parts.precision import compute_dtype, wide_dtype

LOOKED_AT = 10_000  # captions, the first ones, whose lengths are counted


def facts(source, config) -> dict[str, np.ndarray]:
    """The vocabulary, `tokenizer` uint8 [bytes] of JSON: that of `config.method.tokenizer`, else trained on captions.

    Says in a line how many captions are cut, where some are.

    Raises:
      ValueError: the data have no captions, or a row has none; the vocabulary does not fit the text tower.
    """
    captions = getattr(source, "captions", None)
    if captions is None:
        raise ValueError(
            f"{source.name} has no captions; {config.method.name} needs pairs of an image and its `text`, such as "
            "pairs:DIR, or npz:DIR with an array `text`"
        )
    bare = next((row for row, held in enumerate(captions) if not written(held)), None)
    if bare is not None:
        raise ValueError(
            f"Row {bare} of {source.name} has no caption; {config.method.name} needs one or more for every image; "
            "write one, or take the row out"
        )

    def texts():
        return itertools.chain.from_iterable(map(written, captions))

    given = config.method.tokenizer
    known = vocabulary_facts(bpe.read(given) if given else bpe.train(texts(), config.model.text.vocabulary), config)
    made, seen = _tokenizer(config, known), list(itertools.islice(texts(), LOOKED_AT))
    if longer := made.count_longer(seen):
        first = "the first " if len(seen) == LOOKED_AT else ""
        print(
            f"captions    {longer:,} of {first}{len(seen):,} are longer than the {made.length} tokens of the text "
            "tower, and cut"
        )
    return known


def vocabulary_facts(vocabulary: str, config) -> dict[str, np.ndarray]:
    """What `facts` returns, of a vocabulary as `data.tokenizer.read` and `train` return it.

    Raises:
      ValueError: it is larger than the table of the text tower, or the tower would miss the end of a text.
    """
    text = config.model.text
    made = Tokenizer(vocabulary, text.length)
    if made.size > text.vocabulary:
        raise ValueError(
            f"The vocabulary has {made.size} tokens, and config.model.text.vocabulary is {text.vocabulary}; raise it"
        )
    if text.pool == "end" and made.end != made.size - 1:
        raise ValueError(
            f"{config.method.tokenizer} ends texts with token {made.end} of 0 to {made.size - 1}, and "
            "config.model.text.pool='end' expects the end to be the last of a vocabulary; give such a one, or set "
            "config.model.text.pool='last'"
        )
    return {"tokenizer": np.frombuffer(vocabulary.encode(), np.uint8)}


def written(captions) -> list[str]:
    """The captions of an image, one or several, without those that are blank.

    >>> written(np.array(["a dog ", " ", ""]))
    ['a dog']
    """
    several = (captions,) if isinstance(captions, str) else np.ravel(captions)
    return [text for text in (str(one).strip() for one in several) if text]


def read(source, config, known: dict, train: bool):
    """Training rows have `tokens` in place of strings; what is encoded are the images."""
    return Captioned(source, _tokenizer(config, known)) if train else source


def _tokenizer(config, known) -> Tokenizer:
    return Tokenizer(np.asarray(known["tokenizer"], np.uint8).tobytes().decode(), config.model.text.length)


@dataclasses.dataclass(frozen=True, eq=False)
class Captioned:
    """A source whose examples have one of their captions, drawn, as `tokens` int32 [T]; an empty one where none has."""

    source: Any
    tokenizer: Tokenizer

    name = property(lambda self: self.source.name)
    num_classes = property(lambda self: self.source.num_classes)
    labels = property(lambda self: self.source.labels)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        return self.source[i]

    def rows(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        return self.source.rows(ids)

    def prepare(self, example: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
        texts = written(example["text"]) if "text" in example else [""]
        if not texts:
            raise ValueError(f"An image of {self.name} has no caption; expected `text` for every one; take it out")
        kept = {name: value for name, value in example.items() if name != "text"}
        return kept | {"tokens": self.tokenizer(texts[rng.integers(len(texts))], truncate=True)}


def image_text(config, known: dict, *, image_projection: bool, text_bias: bool, decays: Callable) -> dict:
    """All fields of `Method` but `objective` and what goes with it, as a dict.

    Parameters are those of "encoder" and "text", and of the projections into the space of `config.method.dimension`
    axes: linear, that of images where `image_projection`, that of texts with a bias where `text_bias`.

    Args:
      config: `model`, `augment`, `method`.
      known: what `facts` returned.
      image_projection, text_bias: as above.
      decays: `(name of a parameter, array) -> bool`, whether it has weight decay; others are the group "vectors".

    Raises:
      ValueError: an image tower without projection that has another number of features.
    """
    make, one_view = networks.make_networks(config), image.one_view(config)
    image_width = make()["encoder"].feature_dim
    if not image_projection and image_width != config.method.dimension:
        raise ValueError(
            f"config.method.dimension is {config.method.dimension}, and the image tower has {image_width} features and "
            f"no projection; set it to {image_width}, or image_projection=True"
        )
    text_tower = models.build(config.model.text, norm=None, dtype=compute_dtype(config))
    prepare = image.image_inputs(config)
    tokenizer, dimension, wide = _tokenizer(config, known), config.method.dimension, wide_dtype(config)
    widths = {"text": text_tower.feature_dim} | ({"encoder": image_width} if image_projection else {})
    projections = {"encoder": "image_projection", "text": "text_projection"}

    def project(features, params):
        features = features.astype(compute_dtype(config))
        out = (features @ params["kernel"].astype(features.dtype)).astype(wide)
        return out + params["bias"][None] if "bias" in params else out

    def views(key, example):
        return one_view(key, example) | {"tokens": example["tokens"]}

    def init(key, batch):
        image_key, text_key, *keys = jax.random.split(key, 4)
        params, stats = networks.init(make(), image_key, batch["view_0"])
        params["text"] = text_tower.init(text_key, batch["tokens"])["params"]
        for own_key, (tower, width) in zip(keys, widths.items(), strict=False):
            kernel = nn.initializers.normal(width**-0.5)(own_key, (width, dimension), wide)
            params[projections[tower]] = {"kernel": kernel}
        if text_bias:
            params["text_projection"]["bias"] = jnp.zeros(dimension, wide)
        return params, {"batch_stats": stats}

    def projected(tower, features, params):
        return project(features, params[projections[tower]]) if tower in widths else features

    def embed(params, state, batch, key, progress, axis_name, train=True):
        images, stats = batch["view_0"], state["batch_stats"]
        keys = networks.example_keys(key, batch["index"], 0)
        features, new = networks.run(
            make(axis_name, len(images))["encoder"], params["encoder"], stats.get("encoder", {}), images,
            train=train and not config.method.locked, keys=keys,
        )  # fmt: skip
        texts, _ = networks.run(text_tower, params["text"], {}, batch["tokens"], train=train)
        outputs = {"z_a": projected("encoder", features, params), "z_b": projected("text", texts, params)}
        return outputs | {"features": features}, {**state, "batch_stats": {**stats, "encoder": new}}

    def encode(params, state, inputs, layer=None, keys=None):
        """Features of images, or of texts where there are no images; "projection" is their place in the joint space."""
        tower = "encoder" if "image" in inputs else "text"
        given = prepare(inputs) if tower == "encoder" else inputs["tokens"]
        network = make(None, len(given))["encoder"] if tower == "encoder" else text_tower
        inner = None if layer == "projection" else layer
        stats = state.get("batch_stats", {}).get(tower, {})
        found, _ = networks.run(
            network, params[tower], stats, given, train=keys is not None, keys=keys, layer=inner
        )  # fmt: skip
        return unit(projected(tower, found, params)) if layer == "projection" else found

    def groups(params):
        def name(path, leaf):
            locked = config.method.locked and path[0].key == "encoder"
            return "locked" if locked else "default" if decays(path[-1].key, leaf) else "vectors"

        return jax.tree_util.tree_map_with_path(name, params)

    return {
        "init": init, "views": views, "embed": embed, "encode": encode, "groups": groups,
        "tokenize": lambda text, truncate: {"tokens": tokenizer(text, truncate=truncate)},
    }  # fmt: skip


def locked_line(config) -> dict[str, str]:
    """What `Method.describe` says of a locked image tower."""
    begun = config.train.init_from or "nothing: it stays as it was initialised; set config.train.init_from"
    return {"image tower": f"locked, from {begun}"} if config.method.locked else {}


def unit(z):
    """Rows of unit length."""
    return z * jax.lax.rsqrt(jnp.maximum(jnp.sum(z * z, axis=-1, keepdims=True), 1e-24))
