"""What `config.eval.finetune` holds: the settings of the protocol `finetune`, for small data and minutes."""

FINETUNE = {
    "epochs": 20.0,
    "batch_size": 128,  # at most the rows there are
    "learning_rate": 1e-3,  # of the head, x batch size / 256
    "warmup_epochs": 2.0,
    "end_learning_rate": 1e-6,  # not scaled
    "weight_decay": 0.05,  # of matrices, but for class tokens and positions
    "layer_decay": 0.75,  # the rate of a block is that of the one above it times this; 1: all rates are alike
    "drop_path": 0.1,  # in place of `config.model.drop_path`, where the encoder has it
    "label_smoothing": 0.1,
    "pool": "",  # "mean" or "class" in place of `config.eval.pool`
    "mixup": 0.0,  # a of Beta(a, a); 0: none
    "cutmix": 0.0,
    "crop_min": 0.0,  # the least share of the area of random crops; 0: none
    "flip_probability": 0.0,  # of the mirror image, of the whole one where there are no crops
}
_BASE = {
    "epochs": 100.0, "batch_size": 1024, "learning_rate": 5e-4, "warmup_epochs": 5.0, "layer_decay": 0.65,
    "mixup": 0.8, "cutmix": 1.0, "crop_min": 0.08, "flip_probability": 0.5, "pool": "mean",
}  # fmt: skip
_LARGE = {"epochs": 50.0, "learning_rate": 1e-3, "layer_decay": 0.75, "drop_path": 0.2}
FINETUNES = {  # what published settings have otherwise
    "small": {},
    # He et al. 2022, arXiv 2111.06377, table 9; FINETUNE.md and main_finetune.py of the official code
    "mae_base": _BASE,
    "mae_large": _BASE | _LARGE,
    "mae_huge": _BASE | _LARGE | {"drop_path": 0.3},
    # microsoft/SimMIM, simmim_finetune__vit_base__img224__800ep.yaml, whose rates are x batch size / 512
    "simmim_base": _BASE | {"batch_size": 2048, "learning_rate": 6.25e-4, "warmup_epochs": 20.0},
}
