"""SimCLR: what the papers, the official code and a public CIFAR-10 run say.

arXiv 2002.05709 and 2006.10029; google-research/simclr at 383d414 (README.md; tf2/model.py for the projector,
tf2/data_util.py for the augmentation); dkobak/simclr-cifar10.
"""

LARS = {  # tf2/lars_optimizer.py: the rate inside of the momentum; biases and norms left out
    "optim.name": "lars", "optim.momentum": 0.9, "optim.momentum_form": "lr_inside", "optim.trust_coefficient": 1e-3,
    "optim.groups": {"vectors": {"weight_decay": 0, "trust_ratio": False}},
}  # fmt: skip
# Paper, section 2.2 and appendix B: batch 4096, LARS 4.8 = 0.3 x 4096 / 256, weight decay 1e-6, 10 warm-up epochs.
PAPER = LARS | {
    "train.batch_size": 4096, "train.epochs": 1000, "method.temperature": 0.1, "method.loss_scale": 1,
    "learning_rate": 4.8, "optim.weight_decay": 1e-6, "optim.warmup_epochs": 10, "model.depth": 50, "model.width": 1,
    "model.stem": "imagenet", "model.projector.hidden_dims": (2048,), "model.projector.output_dim": 128,
    "augment.size": 224, "augment.crop_scale": (0.08, 1), "augment.jitter": (0.8, 0.8, 0.8, 0.2),
    "augment.jitter_strength": 1, "augment.blur_probability": 0.5, "augment.greyscale_probability": 0.2,
    "augment.brightness_mode": "additive",
}  # fmt: skip
# README: --train_batch_size=4096 --train_epochs=100 --temperature=0.1 --learning_rate=0.075
# --learning_rate_scaling=sqrt --weight_decay=1e-4; num_proj_layers=3, proj_out_dim=128 by default. Crops of less
# than 10 % are refused: min_object_covered=0.1 with the whole image as the object.
CODE = PAPER | {
    "train.epochs": 100, "method.loss_scale": 2, "optim.weight_decay": 1e-4,
    "model.projector.hidden_dims": (2048, 2048), "augment.crop_scale": (0.1, 1),
    "augment.brightness_mode": "multiplicative",
}  # fmt: skip
# Author, google-research/simclr issue 77: learning rate 0.1 sqrt(batch), warm-up 5 % of 800 epochs.
V2 = {
    "train.batch_size": 4096, "train.epochs": 800, "method.temperature": 0.1, "learning_rate": 6.4,
    "optim.weight_decay": 1e-4, "optim.name": "lars", "optim.warmup_epochs": 40,
    "model.projector.hidden_dims": (2048, 2048), "augment.brightness_mode": "multiplicative",
}  # fmt: skip
# README: --train_batch_size=512 --train_epochs=1000 --learning_rate=1.0 --weight_decay=1e-4 --temperature=0.5
# --image_size=32 --resnet_depth=18 --use_blur=False --color_jitter_strength=0.5 (linear scaling by default).
CIFAR_CODE = LARS | {
    "train.batch_size": 512, "train.epochs": 1000, "method.temperature": 0.5, "method.loss_scale": 2,
    "learning_rate": 2.0, "optim.weight_decay": 1e-4, "optim.warmup_epochs": 10, "model.depth": 18,
    "model.stem": "cifar", "model.projector.hidden_dims": (512, 512), "model.projector.output_dim": 128,
    "augment.size": 32, "augment.crop_scale": (0.1, 1), "augment.jitter": (0.8, 0.8, 0.8, 0.2),
    "augment.jitter_strength": 0.5, "augment.blur_probability": 0, "augment.greyscale_probability": 0.2,
}  # fmt: skip
# dkobak/simclr-cifar10 at 44b2500, README and simclr-cifar10.py: 100 epochs at base rate 0.06 per 256; its jitter (0.4,
# 0.4, 0.4, 0.1) is half of the paper's; the model is called once for each view; torchvision's resnet18, nn.Linear.
CIFAR = {
    "method.separate_views": True, "model.init": "torch", "model.zero_init_residual": False,
    "model.projector.init": "torch", "model.projector.bias": True, "model.projector.norm": "none",
    "train.batch_size": 512, "train.epochs": 100, "method.temperature": 0.5, "learning_rate": 0.12,
    "optim.name": "sgd", "optim.weight_decay": 5e-4, "optim.warmup_epochs": 0, "model.depth": 18,
    "model.stem": "cifar", "model.projector.hidden_dims": (1024,), "model.projector.output_dim": 128,
    "augment.size": 32, "augment.crop_scale": (0.2, 1), "augment.jitter": (0.8, 0.8, 0.8, 0.2),
    "augment.jitter_strength": 0.5, "augment.blur_probability": 0, "augment.greyscale_probability": 0.1,
}  # fmt: skip
# Paper, appendix B.9: batch 1024, 1000 epochs; rate and temperature are one point of its grids.
CIFAR_PAPER = {
    "train.batch_size": 1024, "train.epochs": 1000, "model.depth": 50, "model.stem": "cifar",
    "model.projector.hidden_dims": (2048,),
}  # fmt: skip

RECIPES = {
    "imagenet_r50_1000ep": PAPER,
    "imagenet_r50_100ep": PAPER | {"train.epochs": 100},
    "imagenet_r50_100ep_code": CODE,
    "imagenet_r50_2x": PAPER | {"model.width": 2, "model.projector.hidden_dims": (4096,)},
    "imagenet_r50_4x": PAPER | {"model.width": 4, "model.projector.hidden_dims": (8192,)},
    "v2_imagenet_r50": V2,
    "cifar10_r18": CIFAR,
    "cifar10_r18_code": CIFAR_CODE,
    "cifar10_r50": CIFAR_PAPER,
}
PUBLISHED = {
    "imagenet_r50_1000ep": "69.3 (unverified)", "imagenet_r50_100ep": "64.5", "imagenet_r50_100ep_code": "64.5",
    "imagenet_r50_2x": "74.2", "imagenet_r50_4x": "76.5", "v2_imagenet_r50": "71.7", "cifar10_r18": "85.6",
    "cifar10_r18_code": "91", "cifar10_r50": "94.0",
}  # fmt: skip
