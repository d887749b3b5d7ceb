"""BERT: tell hidden words from both sides.

    python -m ssl_jax.pretrain --config=configs/bert.py:mini_cpu --workdir=runs/bert

Papers: Devlin et al. 2019, arXiv 1810.04805; Liu et al. 2019 (RoBERTa), arXiv 1907.11692. Official code: google-
research/bert; fairseq, examples/roberta. Published numbers are accuracies of MNLI (matched) after fine-tuning: on the
test set of BERT, on the development set of RoBERTa. The paper trains the first 900,000 steps on 128 tokens and the
last 100,000 on 512: `base_128`, then `base_512` with `train.init_from` and 100,000 steps; its optimizer is Adam
without bias correction, whose linear decay is counted from step 0. RoBERTa's vocabulary is byte-level BPE; here it is
WordPiece. Data are text files with one document a line, such as `text:DIR`.

| recipe       | paper, section            | published | hardware of the published run |
|--------------|---------------------------|-----------|-------------------------------|
| base_128     | section 3.1, appendix A.2 | -         | 16 TPU chips                  |
| base_512     | section 3.1, appendix A.2 | 84.6      | 16 TPU chips                  |
| large_512    | section 3.1, appendix A.2 | 86.7      | 64 TPU chips                  |
| roberta_base | fairseq, base.yaml        | 87.6      | 8 GPUs of 16 sequences        |
| mini_cpu     | none: sized for 2 cores   | -         | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from ssl_jax import defaults

PAPER = "Devlin et al. 2019, arXiv 1810.04805"
ROBERTA = "Liu et al. 2019, arXiv 1907.11692"


def bert(size: str = "base", length: int = 512) -> ConfigDict:
    """BERT on pairs of segments: 256 rows a step; at 512 tokens 77 hidden places at most, at 128 tokens 20."""
    config = defaults.experiment(
        "bert", length=length, packing="pairs", copies=10, next_sentence=True, mask_ratio=0.15,
        most_masked=77 if length == 512 else 20, whole_words=False, rounding="nearest", random_specials=True,
        vocabulary=30_522, vocabulary_file="", lower_case=True, pool="class",
    )  # fmt: skip
    config.model = ConfigDict({
        "name": "bert", "size": size, "positions": 512, "dropout": 0.1, "attention_dropout": 0.1,
        "activation": "gelu_tanh", "epsilon": 1e-12, "attention": placeholder(str), "remat": False,
    }).lock()  # fmt: skip
    config.compute_dtype = "bfloat16"
    config.data.update(source="text:data/books_and_wikipedia", canvas=0, workers=0)
    config.train.update(batch_size=256, epochs=0, steps=1_000_000, checkpoint_every=10_000)
    config.optim = adamw(1e-4, 0.01, warmup_steps=10_000)
    config.eval.update(test_split="test", protocols=("pretext",))
    return config


def adamw(learning_rate: float, weight_decay: float, **changes) -> ConfigDict:
    """The official optimizer: no decay of biases and norms, no bias correction, gradients clipped to norm 1."""
    values = {"eps": 1e-6, "bias_correction": False, "schedule": "linear_bert", "clip_norm": 1.0} | changes
    return defaults.optim("adamw", learning_rate, scaling="none", weight_decay=weight_decay, **values)


def base_128() -> ConfigDict:
    """The first nine tenths of the published run."""
    config = bert(length=128)
    config.train.steps = 900_000
    return config


def roberta_base() -> ConfigDict:
    """Rows of 512 tokens of running text, no pairs, masks anew at every step: 2,048 rows, 125,000 steps."""
    config = bert()
    config.method.update(packing="full", copies=1, next_sentence=False, most_masked=80, rounding="random")
    config.method.update(random_specials=False, vocabulary=50_265, lower_case=False)
    config.model.activation, config.model.epsilon = "gelu", 1e-5
    config.train.update(batch_size=2048, steps=125_000)
    config.optim = adamw(
        5e-4, 0.01, warmup_steps=10_000, b2=0.98, bias_correction=True, schedule="linear", clip_norm=0.0
    )
    return config


def mini_cpu() -> ConfigDict:
    """BERT-mini in minutes on 2 CPU cores: rows of 64 tokens without gaps, 8,000 tokens; data: `text:DIR`.

    3.1 million tokens in small batches: of so short a run the number of steps matters more than their noise.
    """
    config = bert("mini", length=64)
    config.method.update(packing="separate", copies=1, next_sentence=False, most_masked=12, vocabulary=8_000)
    config.method.update(random_specials=False, pool="mean")
    config.model.update(positions=64, dropout=0.0, attention_dropout=0.0)
    config.compute_dtype = "float32"
    config.data.source = "text:data/bert"
    config.train.update(batch_size=16, steps=3_000, log_every=50, checkpoint_every=500)
    config.optim = defaults.adamw_on_two_cores(
        1e-3, warmup_steps=200, weight_decay=0.01, b2=0.98, schedule="linear", clip_norm=1.0
    )
    return config


def tiny() -> ConfigDict:
    """The smallest run, on generated sentences: 5 steps of 16 pairs of 24 tokens."""
    config = bert("nano", length=24)
    config.method.update(copies=1, most_masked=4, vocabulary=100, whole_words=True)
    config.model.positions = 24
    config.compute_dtype = "float32"
    config.data.source = "synthetic_text"
    config.train.update(batch_size=16, steps=5, log_every=1, checkpoint_every=0)
    config.optim.update(warmup_steps=0)
    config.eval.protocols = ("knn", "linear")
    return config


# name: (config, paper, published accuracy of MNLI in percent, hardware)
RECIPES = {
    "base_128": (base_128, PAPER, "-", "16 TPU chips"),
    "base_512": (bert, PAPER, "84.6 (fine-tuned)", "16 TPU chips"),
    "large_512": (lambda: bert("large"), PAPER, "86.7 (fine-tuned)", "64 TPU chips"),
    "roberta_base": (roberta_base, ROBERTA, "87.6 (fine-tuned)", "8 GPUs"),
    "mini_cpu": (mini_cpu, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "mini_cpu") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/bert.py:mini_cpu`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
