"""DINO: a student predicts its own momentum encoder from small crops of an image; ResNets and vision transformers.

    python -m ssl_jax.pretrain --config=configs/dino.py:digits --workdir=runs/dino_digits

Paper: Caron et al. 2021, arXiv 2104.14294. Official code: facebookresearch/dino, commit 7c446df; the recipes are the
commands of its README and the defaults of main_dino.py. Published numbers are linear-probe top-1 in percent on
ImageNet's validation set, of the teacher; (online): of the classifier trained along.

The paper raises the teacher's temperature to 0.07 and has batch 1024; the command of `imagenet_vits16_100ep_code`
leaves it at 0.04 and has batch 512, that of `imagenet_vits16_300ep` is as the paper. The README gives no number for
ResNet-50 at 100 epochs: its 75.3 are of a run with LARS at batch 4080, whose other settings are not in the repository.

Where these recipes differ from the code: bfloat16 in place of float16 with loss scaling; the warm-up is k / W of the
rate at step k and not k / (W - 1); it drops the last, smaller batch of an epoch, here batches run on into the next one;
Pillow's blur is three box blurs, here a Gaussian.

`cifar10_r18` is solo-learn's recipe (vturrisi/solo-learn, commit 9187ea3, scripts/pretrain/cifar/dino.yaml): two crops
alone, a LARS that never exceeds the learning rate (`trust_clip`), no blur. Its batch statistics are those of one view,
here those of both; its first convolution pads by 2, so that its maps are 34 x 34 pixels where ours are 32 x 32, and
starts from PyTorch's default.

| recipe                     | paper, section          | published      | hardware of the published run |
|----------------------------|-------------------------|----------------|-------------------------------|
| imagenet_vits16_100ep_code | README, vanilla         | 74.0           | 8 GPUs, 1.75 days             |
| imagenet_vits16_300ep      | README, boosting        | 76.0           | 16 GPUs, 2.6 days             |
| imagenet_r50_100ep_code    | README, convnets        | -              | 8 GPUs                        |
| cifar10_r18                | solo-learn, README      | 89.5 (online)  | 1 GPU                         |
| cifar10_cpu                | none: sized for 2 cores | -              | 2 CPU cores, minutes          |
| digits                     | none: the demo          | -              | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Caron et al. 2021, arXiv 2104.14294"
SOLO_LEARN = "vturrisi/solo-learn, cifar/dino.yaml"


def head(hidden: int, norm: str = "none") -> ConfigDict:
    """Three layers with GELU, whose outputs are brought to unit length; "hidden" is the official `use_bn_in_head`."""
    return defaults.mlp((hidden, hidden), 256, norm=norm, activation="gelu", init="dino")


def imagenet_vits16(epochs: int = 100) -> ConfigDict:
    """ViT-S/16: 2 crops of 224 and 8 of 96 pixels; for 300 epochs batch 1024, a warmer teacher and trained gains."""
    long = epochs > 100
    config = defaults.experiment(
        "dino", student_temperature=0.1, teacher_temperature=0.07 if long else 0.04,
        warmup_teacher_temperature=0.04,  # of the first epoch; it then rises from epoch to epoch
        warmup_teacher_temperature_epochs=30 if long else 0, centre=True,  # False: no centring, which collapses
        centre_momentum=0.9, momentum=0.996, momentum_schedule="cosine",  # to 1 at the end; or "constant", "linear"
    )  # fmt: skip
    config.compute_dtype = "bfloat16"
    # norm_last_layer of the official code is learn_gain=False; paths are dropped in the student alone
    last_layer = {"output_dim": 65536, "learn_gain": long}
    config.model = defaults.vit(
        "small", patch_size=16, init="dino", drop_path=0.1, projector=head(2048), last_layer=last_layer
    )
    config.augment = defaults.views("dino")
    config.train.update(batch_size=1024 if long else 512, epochs=epochs)
    config.train.update(eval_every=12510, checkpoint_every=2502)
    frozen_steps = 1251 if long else 2502  # the first epoch
    config.optim = defaults.optim(
        "adamw", 5e-4, weight_decay=0.04, weight_decay_end=0.4, warmup_epochs=10.0, end_learning_rate=1e-6,
        clip_norm=3.0, clip_per_parameter=True,
        groups={"vectors": {"weight_decay": 0.0}, "last_layer": {"frozen_steps": frozen_steps}},
    )  # fmt: skip
    return config


def imagenet_r50() -> ConfigDict:
    """ResNet-50 for 100 epochs: SGD 0.06, constant weight decay, larger and smaller crops than the transformers'."""
    config = imagenet_vits16()
    config.model = resnet(50, "imagenet", head(2048), outputs=65536)
    config.augment.crop_scale = (0.14, 1.0)
    config.augment.local.crop_scale = (0.05, 0.14)
    config.optim.update(name="sgd", learning_rate=0.03, weight_decay=1e-4, weight_decay_end=1e-4)
    return config


def resnet(depth: int, stem: str, projector: ConfigDict, outputs: int) -> ConfigDict:
    """A ResNet with torchvision's initial values."""
    last_layer = {"output_dim": outputs, "learn_gain": False}
    return defaults.resnet(depth, stem=stem, projector=projector, last_layer=last_layer)


def cifar10() -> ConfigDict:
    """solo-learn's ResNet-18: batch 256, 1000 epochs, two crops, 4096 outputs, momentum 0.9995."""
    config = imagenet_vits16()
    config.method.teacher_temperature = 0.07
    config.method.momentum = 0.9995
    config.model = resnet(18, "cifar", head(2048), outputs=4096)
    defaults.on_cifar10(config)
    config.augment.crop_scale = (0.08, 1.0)
    config.augment.local = ConfigDict({"count": 0, "size": 16, "crop_scale": (0.05, 0.4)})
    config.train.batch_size = 256
    config.train.epochs = 1000
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    config.optim = defaults.optim(
        "larc", 0.3, trust_coefficient=0.02, trust_clip=True,  # of a parameter: the learning rate at most
        weight_decay=1e-6, warmup_epochs=10.0, start_learning_rate=3e-5,
        groups=defaults.NOTHING_DECAYS_BUT_MATRICES | {"last_layer": {"frozen_steps": 195}},
    )  # fmt: skip
    return config


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: ResNet-18 of a quarter of the width at 16 pixels; data: `npz:DIR`."""
    config = cifar10()
    defaults.on_two_cores(config, epochs=0, batch_size=128)
    config.train.steps = 1200  # 3.1 epochs
    config.method.teacher_temperature = 0.02  # sharper than published: logits differ little at first
    config.method.momentum = 0.99
    config.method.momentum_schedule = "constant"  # so that at the end of a short run the teacher is not far behind
    config.model = resnet(18, "cifar", head(512, "hidden"), outputs=512)
    config.model.projector.output_dim = 64  # few, so that logits differ enough for the temperatures from the start
    config.model.width = 0.25
    config.augment.local = ConfigDict({"count": 0, "size": 8, "crop_scale": (0.05, 0.4)})  # at 8 pixels they do harm
    groups = {"vectors": {"weight_decay": 0.0}, "last_layer": {"frozen_steps": 2000}}  # to the end
    config.optim = defaults.adamw_on_two_cores(
        0.002, clip_norm=3.0, clip_per_parameter=True, groups=groups,
        warmup_steps=150,  # with less, all images have much the same embedding for hundreds of steps
    )  # fmt: skip
    return config


def digits() -> ConfigDict:
    """scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu()
    defaults.on_digits(config)
    config.model.width = 0.25
    config.augment.crop_scale = (0.5, 1.0)  # from 0.2 on all images have one embedding
    config.optim.learning_rate = 0.001
    return config


def tiny() -> ConfigDict:
    """The smallest run, for tests."""
    config = cifar10_cpu()
    defaults.on_digits(config)
    config.method.update(teacher_temperature=0.04, momentum_schedule="cosine")
    config.augment.local.update(count=2, size=4)
    config.optim.learning_rate = 0.004
    config = defaults.smallest(config)
    config.model.last_layer.output_dim, config.optim.groups.last_layer.frozen_steps = 16, 1
    config.model.projector.update(hidden_dims=(16, 16), output_dim=8)
    return config


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_vits16_100ep_code": (lambda: imagenet_vits16(100), PAPER, "74.0", "8 GPUs, 1.75 days"),
    "imagenet_vits16_300ep": (lambda: imagenet_vits16(300), PAPER, "76.0", "16 GPUs, 2.6 days"),
    "imagenet_r50_100ep_code": (imagenet_r50, PAPER, "-", "8 GPUs"),
    "cifar10_r18": (cifar10, SOLO_LEARN, "89.5 (online)", "1 GPU"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/dino.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, tiny)
