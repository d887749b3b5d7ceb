"""CPC for sound: what the paper says, which has no official code, and the defaults of CPC_audio."""

# van den Oord et al. 2018, section 3.1: strides 5, 4, 2, 2, 2, kernels 10, 8, 4, 4, 4, 512 channels with ReLU, a GRU of
# 256, 12 steps, windows of 20,480 samples at 16 kHz, Adam at 2e-4, 8 GPUs with 8 windows each, about 300,000 steps,
# negatives from the batch of a GPU. Table 1: phones and speakers; table 2: where negatives come from.
PAPER = {
    "method.name": "cpc_audio", "method.steps": 12, "method.negatives": "both", "method.groups": 8, "method.drawn": 0,
    "method.score": "sum", "method.same_speaker": False, "model.name": "audio", "model.channels": 512,
    "model.kernels": (10, 8, 4, 4, 4), "model.strides": (5, 4, 2, 2, 2), "model.norm": "none", "model.cell": "gru",
    "model.context": 256, "model.prediction": "linear", "data.sample_rate": 16_000, "data.window": 20_480,
    "train.batch_size": 64, "train.steps": 300_000, "optim.name": "adam", "optim.schedule": "constant",
    "optim.b1": 0.9, "optim.b2": 0.999, "learning_rate": 2e-4,
}  # fmt: skip

# facebookresearch/CPC_audio at b98a1bd: cpc/cpc_default_config.py, cpc/train.py (--batchSizeGPU 8), cpc/criterion/
# criterion.py (`(locC*candidates[k]).mean(dim=3)`).
CODE = PAPER | {
    "method.drawn": 128, "method.score": "mean", "model.channels": 256, "model.norm": "channel", "model.cell": "lstm",
    "model.prediction": "transformer", "train.steps": 0, "train.epochs": 200, "optim.eps": 1e-8,
}  # fmt: skip

RECIPES = {
    "librispeech": PAPER,
    "librispeech_sequence": PAPER | {"method.negatives": "sequence"},
    "librispeech_others": PAPER | {"method.negatives": "batch"},
    "librispeech_cpc_audio": CODE,
}
PUBLISHED = {
    "librispeech": "64.6 (phones)", "librispeech_sequence": "65.2 (phones)", "librispeech_others": "57.3 (phones)",
}  # fmt: skip
