"""A training step of BERT against `BertForPreTraining` of Hugging Face's transformers: by turns, on the same rows.

    python -m benchmarks.bert [--size=mini --length=64 --batch_size=32 --vocabulary=8000] [--output=bert.json]

Forward pass, both losses, backward pass, clipping and the update of AdamW in float32 on all cores, from the same
weights on the same masked rows; the masks of ours are drawn inside of its step, and of theirs every place reaches the
product with the vocabulary. Both losses of the first step are
printed, which must agree. The figure to look at is the last one, the ratio of the medians: below 1, ours is faster.
Run it from the root of the repository, on a machine that does nothing else. Needs torch and transformers.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

import jax
import numpy as np

from benchmarks.step import by_turns, stepping
from ssl_jax.data import wordpiece
from ssl_jax.models.bert import SIZES
from ssl_jax.models.bert_tensors import to_tensors
from ssl_jax.recipes import get_config
from ssl_jax.train import experiment
from ssl_jax.train.step import views_of_step


def recipe(asked):
    """`mini_cpu` with pairs, of the size that was asked for."""
    config = get_config("bert:mini_cpu").unlock()
    config.method.update(packing="pairs", next_sentence=True, length=asked.length, vocabulary=asked.vocabulary)
    config.method.most_masked = max(1, round(config.method.mask_ratio * asked.length))
    config.model.update(size=asked.size, positions=asked.length, dropout=asked.dropout, attention_dropout=asked.dropout)
    config.train.batch_size, config.parallel.devices = asked.batch_size, 1
    return config


def vocabulary_of(size: int) -> dict[str, np.ndarray]:
    """The facts of a run whose tokens are the special ones and invented words."""
    tokens = [*wordpiece.SPECIAL, *(f"word{number}" for number in range(size - len(wordpiece.SPECIAL)))]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(tokens))
        file.flush()
        return {"tokenizer": np.frombuffer(wordpiece.read(file.name).encode(), np.uint8)}


def pairs(config, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of two segments of random words, the last quarter of the rows padded by an eighth."""
    rng, b, length = np.random.default_rng(seed), config.train.batch_size, config.method.length
    start, end = (wordpiece.SPECIAL.index(name) for name in ("[CLS]", "[SEP]"))
    tokens = rng.integers(len(wordpiece.SPECIAL), config.method.vocabulary, (b, length), np.int32)
    size = np.where(np.arange(b) < b - b // 4, length, length - length // 8)[:, None]
    place = np.arange(length)[None]
    special = (place == 0) | (place == length // 2) | (place == size - 1)
    tokens = np.where(place == 0, start, np.where(special, end, tokens))
    real = place < size
    rows = {
        "tokens": np.where(real, tokens, 0), "segments": np.where(real, place > length // 2, 0), "documents": real,
        "words": np.where(real & ~special, place, -1), "next": rng.integers(0, 2, b), "index": np.arange(b),
    }  # fmt: skip
    return {name: values.astype(np.int32) for name, values in rows.items()}


def theirs(config, params, views, learning_rate: float):
    """`n -> loss`: n steps of PyTorch on one batch of views, from these parameters."""
    import torch
    from transformers import BertConfig, BertForPreTraining

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    method, model, size = config.method, config.model, SIZES[config.model.size]
    network = BertForPreTraining(BertConfig(
        vocab_size=method.vocabulary, hidden_size=size["width"], num_hidden_layers=size["depth"],
        num_attention_heads=size["heads"], intermediate_size=4 * size["width"], hidden_act="gelu_new",
        max_position_embeddings=model.positions, hidden_dropout_prob=model.dropout,
        attention_probs_dropout_prob=model.attention_dropout, layer_norm_eps=model.epsilon,
    ))  # fmt: skip
    network.load_state_dict({k: torch.tensor(v) for k, v in to_tensors(params).items()}, strict=False)
    network.tie_weights()
    network.train()
    labels = np.full(views["tokens"].shape, -100)
    rows, columns = np.nonzero(views["counts"])
    labels[rows, views["places"][rows, columns]] = views["target"][rows, columns]
    inputs = {
        "input_ids": views["tokens"], "token_type_ids": views["segments"], "attention_mask": views["documents"],
        "labels": labels, "next_sentence_label": views["next"],
    }  # fmt: skip
    inputs = {name: torch.tensor(values, dtype=torch.long) for name, values in inputs.items()}
    optim = config.optim
    update = torch.optim.AdamW(
        network.parameters(), lr=learning_rate, betas=(optim.b1, optim.b2), eps=optim.eps,
        weight_decay=optim.weight_decay, fused=True,
    )  # fmt: skip

    def call(n):
        for _ in range(n):
            update.zero_grad(set_to_none=True)
            loss = network(**inputs).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), optim.clip_norm)
            update.step()
        return loss.item()

    return call


def measure(asked) -> dict:
    """Medians of both steps in milliseconds and their ratio, and the losses of the first step."""
    config = recipe(asked)
    known, batch = vocabulary_of(asked.vocabulary), pairs(config)
    run = experiment.build(config, batch, examples=len(batch["index"]), facts=known)
    placed, state = run.parallel.place(batch), run.create()
    views = jax.device_get(views_of_step(run.method, state.key, state.step, placed)[1])
    other = theirs(config, jax.device_get(state.params), views, float(run.learning_rate(config.optim.warmup_steps)))
    first, times = by_turns({"ssl_jax": stepping(run.step, state, placed), "torch": other}, asked.rounds, asked.steps)
    medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    return {
        "first loss": {name: float(loss) for name, loss in first.items()}, "median ms": medians,
        "rounds ms": {name: [1e3 * value for value in values] for name, values in times.items()},
        "ratio": medians["ssl_jax"] / medians["torch"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="mini", help="of `ssl_jax.models.bert.SIZES`")
    parser.add_argument("--length", type=int, default=64, help="tokens of a row")
    parser.add_argument("--batch_size", type=int, default=32, help="rows of a step")
    parser.add_argument("--vocabulary", type=int, default=8_000)
    parser.add_argument("--dropout", type=float, default=0.0, help="of both; the first losses differ then")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each side")
    parser.add_argument("--steps", type=int, default=2, help="of a turn")
    parser.add_argument("--output", type=Path, help="a JSON file")
    asked = parser.parse_args()
    said = measure(asked)
    for name, loss in said["first loss"].items():
        tokens = asked.batch_size * asked.length / said["median ms"][name] * 1e3
        print(f"{name:<9}first loss {loss:.5f}   {said['median ms'][name]:8.1f} ms a step   {tokens:9,.0f} tokens/s")
    print(f"ratio of the medians {said['ratio']:.2f}")
    if asked.output:
        asked.output.write_text(json.dumps(said | {"jax": jax.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    main()
