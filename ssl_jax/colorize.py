"""Colours a photograph by a run of `configs/colorization.py`.

    python -m ssl_jax.colorize --workdir=runs/colorization --image=grey.jpg --output=coloured.png [--temperature=0.38]

The photograph may be grey or in colour, of any size; its colours are not looked at, its lightness is kept.
"""

from pathlib import Path

import jax
import numpy as np
from absl import flags

from ssl_jax import methods, paths
from ssl_jax.run import command_line, workdir
from ssl_jax.run.restore import load_model
from ssl_jax.train import parallel

FLAGS = flags.FLAGS
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def colorize(directory: Path, image: np.ndarray, temperature: float | None = None, checkpoint="latest") -> np.ndarray:
    """The image in the colours that a run predicts.

    Args:
      directory: of a run of colorization.
      image: uint8 `[H, W]`, `[H, W, 1]` or `[H, W, 3]`.
      temperature: of the annealed mean: lower is more vivid, 1 the mean; None for the run's own.
      checkpoint: "latest", "best" or a step.

    Returns:
      uint8 `[H, W, 3]`.

    Raises:
      ValueError: no image, or a run of another method.
    """
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[-1] not in (1, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"An image of shape {image.shape} and dtype {image.dtype} was given; expected uint8 [H, W], [H, W, 1] or "
            "[H, W, 3]"
        )
    config = workdir.read_config(directory)
    colouriser = getattr(methods.load(config.method.name), "colouriser", None)
    if colouriser is None:
        raise ValueError(f"{directory} is a run of {config.method.name!r}; give one of configs/colorization.py")
    temperature = config.method.temperature if temperature is None else temperature
    if not temperature > 0:
        raise ValueError(f"The temperature is {temperature}; expected a positive number, such as 0.38")
    model = load_model(directory, parallel.make("shard_map", 1, 1).replicated, str(checkpoint))
    run = jax.jit(colouriser(config))
    return np.asarray(run(model["params"], model["method"], image[None], temperature))[0]


def main() -> int:
    import cv2

    source, output = paths.expand(FLAGS.image), paths.output(FLAGS.output)
    if output.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--output is {FLAGS.output}; expected a name that ends in one of {', '.join(SUFFIXES)}")
    image = cv2.imread(str(source), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"--image={FLAGS.image} is no image that can be read; give a .png, .jpg or .webp file")
    found = colorize(paths.expand(FLAGS.workdir), image[..., ::-1], FLAGS.temperature, FLAGS.checkpoint)
    output.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(output), found[..., ::-1])
    print(f"{output}: {found.shape[1]} x {found.shape[0]} pixels")
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Directory of a run of colorization.", required=True)
    flags.DEFINE_string("image", None, "The photograph.", required=True)
    flags.DEFINE_string("output", None, "The image to write.", required=True)
    flags.DEFINE_float("temperature", None, "Of the annealed mean; the run's own if left out.")
    flags.DEFINE_string("checkpoint", "latest", "latest, best (where config.train.keep_best), or a step.")
    command_line.run(main)
