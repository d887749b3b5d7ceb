"""Inpainting: what the paper and the official code say."""

# pathak22/context-encoder, README.md (wtl2=0.999 nBottleneck=4000 overlapPred=4 niter=500 loadSize=350 fineSize=128),
# train.lua (batchSize 64, lr 0.0002, ten times as much for the generator, beta1 0.5; the fill).
CENTRE = {
    "method.mask": "centre", "method.hole": 56, "method.overlap": 4, "method.overlap_weight": 10,
    "method.elsewhere": 0, "method.adversarial": 0.001, "method.fill": (117 / 255, 104 / 255, 123 / 255),
    "model.name": "encoder_decoder", "model.channels": (64, 64, 128, 256, 512), "model.bottleneck": 4000,
    "model.decoder": {"channels": (512, 256, 128, 64), "side": 64},
    "model.discriminator": {"channels": (64, 128, 256, 512)}, "train.batch_size": 64, "train.epochs": 500,
    "optim.name": "adam", "learning_rate": 2e-3, "optim.b1": 0.5, "optim.schedule": "constant",
    "optim.weight_decay": 0, "optim.groups": {"discriminator": {"learning_rate_factor": 0.1}}, "augment.size": 128,
    "augment.flip_probability": 0.5, "augment.mean": (0.5, 0.5, 0.5), "augment.std": (0.5, 0.5, 0.5),
}  # fmt: skip

RECIPES = {
    "paris_centre_code": CENTRE,
    # Section 4.1: an overlap of 7 pixels.
    "paris_centre_paper": CENTRE | {"method.hole": 50, "method.overlap": 7},
    # train_random.lua: 20 to 30 % of noise of 0.06 cells a pixel, the error of the whole image, one more layer each.
    "paris_random_code": CENTRE | {
        "method.mask": "regions", "method.hole": 56, "method.overlap": 0, "method.elsewhere": 1,
        "method.share": (0.2, 0.3), "method.resolution": 0.06,
        "model.decoder": {"channels": (512, 256, 128, 64, 64), "side": 128},
        "model.discriminator": {"channels": (64, 64, 128, 256, 512)},
    },
    # Section 3.1 and 5.2: AlexNet on 227 pixels, random regions, no adversarial loss.
    "imagenet_alexnet": {
        "method.mask": "regions", "method.overlap": 7, "method.overlap_weight": 10, "method.adversarial": 0,
        "model.name": "alexnet", "model.decoder": {"layer": "conv_5"}, "augment.size": 227,
        "augment.crop_distribution": "pixels",
    },
}  # fmt: skip
PUBLISHED = {"paris_centre_paper": "18.58 dB", "imagenet_alexnet": "56.5 VOC"}
# 4x4 kernels without biases, two numbers a channel of batch norm; the dense layers to and from the code.
KERNELS = 16 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
PARAMETERS = {
    "paris_centre_code": {
        "encoder": KERNELS + 16 * 512 * 4000 + 2 * (64 + 128 + 256 + 512),
        "decoder": 16 * (4000 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * (4000 + 512 + 256 + 128 + 64),
        "discriminator": 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 2 * (128 + 256 + 512),
    },
}  # fmt: skip
