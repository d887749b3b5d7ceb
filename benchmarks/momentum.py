"""What the momentum of MoCo does: the drift of queued keys and the kNN of runs that differ in one value.

    python -m benchmarks.momentum runs/moco_0.0 runs/moco_0.9 runs/moco_0.99 runs/moco_0.999 --figure=drift.png

Prints a table of finished runs, a line each: their own value of `--key`, the drift of the oldest keys in the queue
when it was first measured, medians of the last logged steps, kNN at the end. The figure needs matplotlib.
"""

import argparse
import json
import statistics
from pathlib import Path

COLUMNS = {
    "first key drift": ("key_drift", ".2g"), "queue top-1": ("queue_top1", ".3f"),
    "in-batch top-1": ("in_batch_top1", ".3f"), "teacher distance": ("teacher_distance", ".2g"),
    "loss": ("loss", ".2f"),
}  # fmt: skip
LAST = 10  # logged rows that the last values are medians of


def read(run: Path, key: str) -> dict:
    """The value of a config key, the logged rows and the kNN rows of a finished run."""
    value = json.loads((run / "config.json").read_text())
    for part in key.split("."):
        value = value[part]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    evaluated = json.loads((run / "evaluation.json").read_text())
    knn = {row["features"]: row["value"] for row in evaluated if row["protocol"] == "knn"}
    return {"value": value, "rows": [row for row in rows if "loss" in row], "knn": knn}


def last(rows: list[dict], name: str) -> float | None:
    """The median of a metric over the last rows that have it; of the drift, the first: it ends with the rate."""
    found = [row[name] for row in rows if name in row]
    if name == "key_drift":
        return found[0] if found else None
    return statistics.median(found[-LAST:]) if found else None


def table(runs: list[dict], key: str) -> str:
    """The runs as a table in Markdown."""
    lines = ["| " + " | ".join([key, *COLUMNS, "kNN", "random encoder"]) + " |"]
    lines.append("|" + "---|" * (len(COLUMNS) + 3))
    for run in runs:
        cells = [str(run["value"])]
        for name, form in COLUMNS.values():
            value = last(run["rows"], name)
            cells.append("-" if value is None else format(value, form))
        cells += [f"{100 * run['knn'][kind]:.1f}" for kind in ("encoder", "random")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(runs: list[dict], key: str, path: Path) -> None:
    """Drift and kNN over the steps, a line for each run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, name in zip(axes, ("key_drift", "knn_top1"), strict=True):
        for run in runs:
            points = [(row["step"], row[name]) for row in run["rows"] if name in row]
            axis.plot(*zip(*points, strict=True), marker=".", label=f"{key.split('.')[-1]} {run['value']}")
        axis.set_xlabel("step")
    axes[0].set(yscale="log", ylim=(1e-4, 2), ylabel="1 - cosine with today's key", title="drift of the oldest keys")
    axes[1].set(ylabel="top-1", title="kNN on held-out training rows")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=len(runs), frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("--key", default="method.momentum", help="the config value in which the runs differ")
    parser.add_argument("--figure", type=Path, help="an image file to draw")
    asked = parser.parse_args()
    runs = [read(run, asked.key) for run in asked.runs]
    print(table(runs, asked.key))
    if asked.figure:
        draw(runs, asked.key, asked.figure)


if __name__ == "__main__":
    main()
