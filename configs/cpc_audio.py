"""CPC for sound: tell the next frames of a waveform from other frames.

    python -m ssl_jax.pretrain --config=configs/cpc_audio.py:digits_cpu --config.data.source=wav:DIR --workdir=runs/cpc

Paper: van den Oord et al. 2018, arXiv 1807.03748; no official code. Its batch is 8 windows on each of 8 GPUs, whose
negatives are the frames of the 8: `method.groups`. Published are a linear classifier of 41 phones a frame (64.6) and of
251 speakers (97.4). The recipes `_sequence` and `_others` take other negatives, section 3.1, table 2. `_cpc_audio` has
the defaults of facebookresearch/CPC_audio (Riviere et al. 2020, arXiv 2002.02848), on 8 GPUs; but that code takes each
batch from one speaker, and its drawn negatives may be the positive; here batches are mixed, and they may not.

| recipe                        | paper, section               | published     | hardware of the published run |
|-------------------------------|------------------------------|---------------|-------------------------------|
| librispeech                   | section 3.1                  | 64.6 (phones) | 8 GPUs                        |
| librispeech_sequence          | table 2, current sequence    | 65.2 (phones) | 8 GPUs                        |
| librispeech_others            | table 2, excl. the sequence  | 57.3 (phones) | 8 GPUs                        |
| librispeech_cpc_audio         | arXiv 2002.02848, the code   | -             | 8 windows a GPU               |
| digits_cpu                    | none: spoken digits, 2 cores | -             | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "van den Oord et al. 2018, arXiv 1807.03748"
VARIANT = "Riviere et al. 2020, arXiv 2002.02848"


def librispeech(negatives: str = "both") -> ConfigDict:
    """Five convolutions of 512 channels, a GRU of 256, 12 steps of 10 ms; windows of 1.28 s at 16 kHz."""
    config = defaults.experiment(
        "cpc_audio", steps=12, negatives=negatives, groups=8, same_speaker=False, drawn=0, score="sum"
    )
    config.model = audio()
    config.data.update(source="wav:data/librispeech", sample_rate=16_000, window=20_480, workers=8)
    config.train.update(batch_size=64, steps=300_000, epochs=0, log_every=100, checkpoint_every=5000)
    config.optim = defaults.optim("adam", 2e-4, scaling="none", schedule="constant")
    config.eval.update(test_split="test", crop=0.0, protocols=("pretext", "linear", "speaker", "frame"))
    return config


def librispeech_cpc_audio() -> ConfigDict:
    """The defaults of facebookresearch/CPC_audio: half the channels, channel norm, an LSTM, a transformer a step."""
    config = librispeech()
    config.model = audio(channels=256, norm="channel", cell="lstm", prediction="transformer")
    config.method.update(drawn=128, score="mean")
    config.train.update(steps=0, epochs=200)
    return config


def audio(**changes) -> ConfigDict:
    """`config.model` of an encoder of sound as published."""
    keys = {"name": "audio", "channels": 512, "kernels": (10, 8, 4, 4, 4), "strides": (5, 4, 2, 2, 2), "norm": "none"}
    return ConfigDict(keys | {"cell": "gru", "context": 256, "prediction": "linear"} | changes).lock()


def digits_cpu() -> ConfigDict:
    """Spoken digits at 8 kHz in minutes on 2 CPU cores: frames of 10 ms, windows of half a second; data: `wav:DIR`."""
    config = librispeech()
    config.model = audio(channels=64, kernels=(10, 8, 4, 4), strides=(5, 4, 2, 2), norm="channel", context=128)
    config.data.update(source="wav:data/spoken_digits", sample_rate=8_000, window=4_096, short="pad", workers=0)
    config.train.update(batch_size=32, steps=0, epochs=25, log_every=20, eval_every=0, checkpoint_every=200)
    config.method.groups = 4
    config.optim = defaults.optim("adam", 1e-3, scaling="none", warmup_steps=50)
    config.eval.protocols = ("pretext", "knn", "linear", "speaker", "unseen_speaker", "frame")
    return config


def tiny() -> ConfigDict:
    """Synthetic sound: 15 frames of 200 samples, more than half of the clips have, 3 steps."""
    config = defaults.smallest(digits_cpu())
    config.model.update(channels=32, kernels=(50, 6), strides=(40, 5), context=8)
    config.data.update(source="synthetic_sound", window=3_000)
    config.method.update(steps=3, groups=2)
    return config


# name: (config, paper, published, hardware)
RECIPES = {
    "librispeech": (librispeech, PAPER, "64.6 (phones)", "8 GPUs"),
    "librispeech_sequence": (lambda: librispeech("sequence"), PAPER, "65.2 (phones)", "8 GPUs"),
    "librispeech_others": (lambda: librispeech("batch"), PAPER, "57.3 (phones)", "8 GPUs"),
    "librispeech_cpc_audio": (librispeech_cpc_audio, VARIANT, "-", "8 windows a GPU"),
    "digits_cpu": (digits_cpu, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits_cpu") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/cpc_audio.py:digits_cpu`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
