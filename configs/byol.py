"""BYOL: predict what a slowly moving target network makes of the other view; no negatives.

    python -m ssl_jax.pretrain --config=configs/byol.py:digits --workdir=runs/byol_digits

Paper: Grill et al. 2020, arXiv 2006.07733. Official code: google-deepmind/deepmind-research, commit f5de0ed, byol/: its
configs/byol.py has the presets for 40, 100, 300 and 1000 epochs, its README a run on Imagenette for one GPU. Published
numbers are linear-probe top-1 in percent on ImageNet's validation set; (online): of the classifier trained along.

The recipes `_code` and `_paper` differ in the first values: the code starts the last norm of every residual block at 0,
the paper at Haiku's 1; the code draws the target's parameters anew, in the paper's run they are taken to be copies.
The 100 and 40 epochs are presets without a published number. The paper's probe sweeps five learning rates on 10,000
training images held out, the code's takes one.

Where these recipes differ from the code: the shortcut of the first stage is the identity where shapes agree, which in
ResNet-50 they never do; its padding is TensorFlow's, at the end only where a stride of 2 makes it uneven; bfloat16.

`cifar10_r18` is solo-learn's recipe (vturrisi/solo-learn, commit 9187ea3, scripts/pretrain/cifar/byol.yaml), whose
number is that of the classifier trained along; its first convolution pads by 2, so that its maps are 34 x 34 pixels
where ours are 32 x 32, and starts from PyTorch's default. `cifar10_r18_200ep` is that of lightly's benchmark
(lightly-ai/lightly, commit e8d317f), whose number is the best kNN (k = 200) of all epochs; its loss is a quarter of
BYOL's.

| recipe                     | paper, section               | published     | hardware of the published run |
|----------------------------|------------------------------|---------------|-------------------------------|
| imagenet_r50_1000ep_paper  | table 1                      | 74.3          | 512 TPU v3, 8 hours           |
| imagenet_r50_300ep_paper   | appendix F                   | 72.5 (u)      | 512 TPU v3                    |
| imagenet_r50_1000ep_code   | README                       | 74.4          | 512 TPU v3, 8 hours           |
| imagenet_r50_300ep_code    | configs/byol.py              | -             | TPU v3                        |
| imagenet_r50_100ep_code    | configs/byol.py              | -             | TPU v3                        |
| imagenet_r50_40ep_code     | configs/byol.py              | -             | TPU v3                        |
| imagenette_r18_code        | README, fast iteration       | 92.3 (online) | 1 V100, 4 hours               |
| cifar10_r18                | solo-learn, README           | 92.6 (online) | 1 GPU                         |
| cifar10_r18_200ep          | lightly, benchmarks          | 86.8 (kNN)    | 1 RTX A6000, 108 minutes      |
| cifar10_cpu                | none: sized for 2 cores      | -             | 2 CPU cores, minutes          |
| digits                     | none: the demo               | -             | 2 CPU cores, minutes          |
"""

from ml_collections import ConfigDict

from ssl_jax import defaults

PAPER = "Grill et al. 2020, arXiv 2006.07733"
CODE = "google-deepmind/deepmind-research, byol"
SOLO_LEARN = "vturrisi/solo-learn, cifar/byol.yaml"
LIGHTLY = "lightly-ai/lightly, CIFAR-10 benchmark"

# epochs: (base learning rate, weight decay, momentum of the target at the start)
PRESETS = {40: (0.45, 1e-6, 0.97), 100: (0.45, 1e-6, 0.99), 300: (0.3, 1e-6, 0.99), 1000: (0.2, 1.5e-6, 0.996)}


def head(hidden: int) -> ConfigDict:
    """A projector or predictor of 256 outputs; the first layer has a bias although a norm follows, the last none."""
    return defaults.mlp((hidden,), 256, norm="hidden", hidden_bias=True, bias=False, init="haiku")


def imagenet_r50(epochs: int = 1000) -> ConfigDict:
    """ResNet-50, batch 4096, LARS, the target's momentum on a cosine to 1."""
    learning_rate, weight_decay, momentum = PRESETS[epochs]
    config = defaults.experiment(
        "byol", momentum=momentum, momentum_schedule="cosine",  # to 1 at the end of the run; or "constant", "linear"
        target_init="copy",  # of the trained parameters; or "own"
        loss_scale=1.0, predictor=True,  # False: a study, all embeddings become one
    )  # fmt: skip
    config.compute_dtype = "bfloat16"
    config.model = defaults.resnet(50, init="haiku", projector=head(4096), predictor=head(4096))
    config.augment = defaults.views("byol")
    config.train.update(batch_size=4096, epochs=epochs)
    config.optim = defaults.optim(
        "lars", learning_rate, weight_decay=weight_decay, warmup_epochs=10.0, momentum_form="lr_outside"
    )
    defaults.intervals(config, 1_281_167, evaluate=10, checkpoint=5)
    return config


def imagenet_r50_code(epochs: int = 1000) -> ConfigDict:
    """What the official code trains: residual blocks start as the identity, the target from its own parameters."""
    config = imagenet_r50(epochs)
    config.model.zero_init_residual = True
    config.method.target_init = "own"
    return config


def imagenette_r18_code() -> ConfigDict:
    """The README's run for one GPU: ResNet-18 at 128 pixels, batch 256, 1000 epochs at ten times the preset's rate."""
    config = imagenet_r50_code(1000)
    config.model.depth = 18
    config.augment.size = 128
    config.data.source = "tfds:imagenette/160px-v2"
    config.data.canvas = 160
    config.train.batch_size = 256
    config.train.eval_every = 1850
    config.train.checkpoint_every = 925
    config.optim.learning_rate = 2.0
    config.optim.weight_decay = 1e-6
    return config


def cifar10_r18() -> ConfigDict:
    """solo-learn's BYOL: ResNet-18, 1000 epochs, batch 256, rates that are clipped; no blur."""
    config = imagenet_r50(1000)
    config.method.momentum = 0.99
    config.model.depth = 18
    config.model.stem = "cifar"
    config.model.init = "torch"
    for name in ("projector", "predictor"):
        config.model[name].bias = True
        config.model[name].init = "torch"
    defaults.on_cifar10(config)
    config.augment.crop_distribution = "torchvision"
    config.augment.brightness_mode = "multiplicative"
    config.augment.semantics = "torchvision"
    config.train.batch_size = 256
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    config.optim.name = "larc"
    config.optim.learning_rate = 1.0
    config.optim.trust_coefficient = 0.02
    config.optim.trust_clip = True  # of a parameter: the learning rate at most
    config.optim.weight_decay = 1e-5
    config.optim.start_learning_rate = 3e-5
    return config


def cifar10_r18_200ep() -> ConfigDict:
    """lightly's BYOL: ResNet-18, 200 epochs of SGD, batch 512, constant momentum, a quarter of the loss; no blur."""
    config = cifar10_r18()
    config.method.momentum_schedule = "constant"
    config.method.loss_scale = 0.25
    config.model.init = "torch_default"
    for name in ("projector", "predictor"):
        config.model[name].hidden_dims = (1024,)
        config.model[name].hidden_bias = False
    config.augment.method = "bilinear"
    config.augment.mean = (0.485, 0.456, 0.406)
    config.augment.std = (0.229, 0.224, 0.225)
    config.train.batch_size = 512
    config.train.epochs = 200
    defaults.intervals(config, 50_000, evaluate=10, checkpoint=5)
    config.optim = sgd(learning_rate=0.12, weight_decay=5e-4)
    return config


def sgd(learning_rate: float, weight_decay: float) -> ConfigDict:
    """SGD over all parameters, on a cosine that moves once an epoch."""
    groups = defaults.EVERYTHING_DECAYS
    return defaults.optim("sgd", learning_rate, weight_decay=weight_decay, schedule="cosine_epoch", groups=groups)


def cifar10_cpu() -> ConfigDict:
    """CIFAR-10 in minutes on 2 CPU cores: ResNet-18 of a quarter of the width at 16 pixels; data: `npz:DIR`."""
    config = cifar10_r18()
    defaults.on_two_cores(config, epochs=3, batch_size=128)
    config.method.momentum = 0.97
    config.model.projector = head(512)
    config.model.projector.norm = "all_unscaled"  # not BYOL's: without it all targets are much alike for many epochs
    config.model.predictor = head(512)
    config.augment.method = "bilinear"
    config.optim = sgd(learning_rate=0.2, weight_decay=5e-4)
    config.optim.scaling = "none"
    config.optim.schedule = "cosine"
    config.optim.warmup_steps = 20
    return config


def digits() -> ConfigDict:
    """The demo: scikit-learn's 8 x 8 handwritten digits, embedded, no download."""
    config = cifar10_cpu()
    defaults.on_digits(config)
    config.model.width = 0.25
    config.augment.crop_scale = (0.5, 1.0)  # from 0.2 on: kNN 86.1 in place of 95.0, at twice the width
    return config


# name: (config, paper, published linear top-1 in percent, hardware)
RECIPES = {
    "imagenet_r50_1000ep_paper": (lambda: imagenet_r50(1000), PAPER, "74.3", "512 TPU v3, 8 hours"),
    "imagenet_r50_300ep_paper": (lambda: imagenet_r50(300), PAPER, "72.5 (unverified)", "512 TPU v3"),
    "imagenet_r50_1000ep_code": (lambda: imagenet_r50_code(1000), CODE, "74.4", "512 TPU v3, 8 hours"),
    "imagenet_r50_300ep_code": (lambda: imagenet_r50_code(300), CODE, "-", "TPU v3"),
    "imagenet_r50_100ep_code": (lambda: imagenet_r50_code(100), CODE, "-", "TPU v3"),
    "imagenet_r50_40ep_code": (lambda: imagenet_r50_code(40), CODE, "-", "TPU v3"),
    "imagenette_r18_code": (imagenette_r18_code, CODE, "92.3 (online)", "1 V100, 4 hours"),
    "cifar10_r18": (cifar10_r18, SOLO_LEARN, "92.6 (online)", "1 GPU"),
    "cifar10_r18_200ep": (cifar10_r18_200ep, LIGHTLY, "86.8 (kNN)", "1 RTX A6000, 108 minutes"),
    "cifar10_cpu": (cifar10_cpu, "-", "-", "2 CPU cores, minutes"),
    "digits": (digits, "-", "-", "2 CPU cores, minutes"),
}


def get_config(recipe: str = "digits") -> ConfigDict:
    """The config of a recipe; `recipe` is what follows the colon of `--config=configs/byol.py:digits`."""
    return defaults.choose(RECIPES, recipe, __file__, lambda: defaults.smallest(digits()))
