"""The loss plot."""

import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as pyplot
import numpy


def plot_history(history: list[dict[str, float]], path: pathlib.Path) -> None:
    """Draw the smoothed training loss and the validation loss over the steps."""
    steps = [row["step"] for row in history]
    losses = numpy.array([row["loss"] for row in history])
    window = max(1, len(losses) // 100)
    smooth = numpy.convolve(losses, numpy.ones(window) / window, mode="valid")
    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot(steps[window - 1 :], smooth, label="training")
    checked = [(row["step"], row["validation"]) for row in history if "validation" in row]
    if checked:
        axes.plot(*zip(*checked, strict=True), label="validation, assistant tokens")
    axes.set(xlabel="step", ylabel="nats a token", yscale="log")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
