"""Chromatic aberration as a shortcut: context prediction on images as of a poor lens, with and without its counters.

    python -m benchmarks.shortcut --runs=runs/shortcut --source=npz:data/cifar10 --figure=shortcut.png

Channels are enlarged or reduced about the middle of the image by `--strength`, so that the offset of the colours tells
where in the image a patch was: red and blue against one another, or green alone, the aberration that the projection is
made against, since it takes away green against red and blue alike. `configs/context_prediction.py:cifar10_cpu` is
trained on the images as they are and with an aberration, with the colours of the patches as they are, dropped or
projected; a run that is finished is not trained again. Every encoder is probed on the images as they are. The figure
needs matplotlib.
"""

import argparse
import functools
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax import recipes
from ssl_jax.data import sources

CONFIG = "configs/context_prediction.py:cifar10_cpu"
ABERRATIONS = {"plain": (0, 0, 0), "red_blue": (1, 0, -1), "green": (0, -1, 0)}  # of red, green and blue, x --strength
ARMS = {  # name: (one of `ABERRATIONS`, config.method.colours)
    "as they are, no counter": ("plain", "keep"),
    "red against blue, no counter": ("red_blue", "keep"),
    "red against blue, colours dropped": ("red_blue", "drop_uniform"),
    "red against blue, colours projected": ("red_blue", "project"),
    "green, no counter": ("green", "keep"),
    "green, colours projected": ("green", "project"),
}
ROWS = 1000  # images at a time


@functools.partial(jax.jit, static_argnums=1)
def aberrated(images, strengths: tuple[float, float, float]):
    """Images with the red, green and blue channel enlarged about the middle, each by a factor of 1 + its strength.

    Args:
      images: uint8 `[b, H, W, 3]`.
      strengths: 0.1 moves the colour of a corner by a tenth of its distance from the middle, outwards.

    >>> row = jnp.zeros((1, 9, 9, 3), jnp.uint8).at[0, :, 7].set(200)
    >>> np.argmax(aberrated(row, (0.34, 0, -0.34))[0, 4], axis=0).tolist()  # a line three from the middle
    [8, 7, 6]
    """
    height, width = images.shape[1:3]
    middle = jnp.array([height / 2, width / 2])

    def bend(channel, factor):
        scale = jnp.full(2, factor)
        return jax.image.scale_and_translate(channel, (height, width), (0, 1), scale, middle * (1 - scale), "linear")

    factors = 1 + jnp.array(strengths, jnp.float32)
    of_channels = jax.vmap(bend, in_axes=(2, 0), out_axes=2)
    bent = jax.vmap(of_channels, in_axes=(0, None))(images.astype(jnp.float32), factors)
    return jnp.clip(jnp.round(bent), 0, 255).astype(jnp.uint8)


def prepare(source: str, folder: Path, strengths: tuple[float, float, float], count: int) -> None:
    """Both splits of a source as `npz:FOLDER`, with the aberration; `count` training images at most."""
    folder.mkdir(parents=True, exist_ok=True)
    config = recipes.get_config("context_prediction:cifar10_cpu")
    for split in ("train", "test"):
        data = sources.load(config.data, split, spec=source)
        ids = np.arange(min(len(data), count) if split == "train" else len(data))
        rows = data.rows(ids)
        if any(strengths):
            parts = [aberrated(rows["image"][i : i + ROWS], strengths) for i in range(0, len(ids), ROWS)]
            rows["image"] = np.concatenate([np.asarray(part) for part in parts])
        np.savez(folder / f"{split}.npz", image=rows["image"], label=rows["label"])


def train(directory: Path, source: Path, probed: Path, colours: str, epochs: int) -> None:
    """One run in a process of its own; its encoder is probed on other images than those that it is trained on."""
    run = [f"--config={CONFIG}", f"--workdir={directory}", f"--config.data.source=npz:{source}"]
    values = {
        "method.colours": colours, "train.epochs": epochs, "train.eval_every": 0, "eval.protocols": ("pretext",),
        "optim.warmup_steps": 0, "optim.warmup_epochs": 0.1,
    }  # fmt: skip
    options = [f"--config.{key}={value}" for key, value in values.items()]
    subprocess.run([sys.executable, "-m", "ssl_jax.pretrain", *run, *options], check=True)
    pretext = json.loads((directory / "evaluation.json").read_text())
    asked = ["--protocols=knn,linear", f"--data=npz:{probed}"]
    subprocess.run([sys.executable, "-m", "ssl_jax.evaluate", f"--workdir={directory}", *asked], check=True)
    probes = json.loads((directory / "evaluation.json").read_text())
    (directory / "shortcut.json").write_text(json.dumps(pretext + probes))


def read(directory: Path) -> dict[str, float]:
    """What a finished run has measured: `pretext`, `knn` and `linear`, and the better random encoder's of the two."""
    rows = json.loads((directory / "shortcut.json").read_text())
    found = {}
    for row in rows:
        if row["protocol"] == "pretext" and row["metric"] == "context_top1" and row["features"] == "encoder":
            found["pretext"] = row["value"]
        elif row["protocol"] in ("knn", "linear"):
            kind = "" if row["features"] == "encoder" else "random" if row["features"].startswith("random") else None
            if kind is not None:
                name = f"{kind}_{row['protocol']}".strip("_")
                found[name] = max(found.get(name, 0.0), row["value"])
    return found


def table(found: dict[str, dict]) -> str:
    """The arms as a table in Markdown."""
    lines = ["| images, patches | pretext accuracy | kNN | linear |", "|---|---|---|---|"]
    for name, row in found.items():
        values = (f"{100 * row[key]:.1f}" for key in ("pretext", "knn", "linear"))
        lines.append(f"| {name} | {' | '.join(values)} |")
    random = next(iter(found.values()))
    said = f"{100 * random['random_knn']:.1f} (kNN) and {100 * random['random_linear']:.1f} (linear)"
    return "\n".join([*lines, "", f"Better random encoder: {said}."])


def draw(found: dict[str, dict], path: Path) -> None:
    """Pretext accuracy beside what the features are worth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4.2), layout="constrained", sharey=True)
    names, places = [name.replace(", ", ",\n") for name in found], np.arange(len(found))
    axes[0].barh(places, [100 * row["pretext"] for row in found.values()], color="tab:grey")
    axes[0].axvline(12.5, color="black", linestyle=":", linewidth=1)
    axes[0].set(title="pretext: direction told (dotted: a guess)", xlabel="%", yticks=places, yticklabels=names)
    for offset, key, label in ((-0.2, "knn", "kNN"), (0.2, "linear", "linear probe")):
        axes[1].barh(places + offset, [100 * row[key] for row in found.values()], height=0.38, label=label)
    axes[1].set(title="features: class of the image told", xlabel="top-1, %")
    axes[1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes[0].invert_yaxis()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", required=True, type=Path, help="the folder of the data and the run directories")
    parser.add_argument("--source", default="npz:data/cifar10", help="labelled colour images of 32 x 32 pixels")
    parser.add_argument("--strength", default=0.1, type=float, help="by which a channel is enlarged or reduced")
    parser.add_argument("--images", default=50_000, type=int, help="training images")
    parser.add_argument("--epochs", default=2, type=int, help="of each run")
    parser.add_argument("--figure", type=Path, help="an image file to draw")
    asked = parser.parse_args()
    for folder, signs in ABERRATIONS.items():
        if not (asked.runs / folder / "test.npz").exists():
            prepare(asked.source, asked.runs / folder, tuple(asked.strength * sign for sign in signs), asked.images)
    found = {}
    for name, (aberration, colours) in ARMS.items():
        directory = asked.runs / f"{aberration}_{colours}"
        if not (directory / "shortcut.json").exists():
            train(directory, asked.runs / aberration, asked.runs / "plain", colours, asked.epochs)
        found[name] = read(directory)
        print(table(found), flush=True)
    if asked.figure:
        draw(found, asked.figure)


if __name__ == "__main__":
    main()
