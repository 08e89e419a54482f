"""What does each calibrator do for a network that is too sure?

    python benchmarks/calibration.py [--seeds 5] [--epochs 300] [--only NAME]

Trains a small convolutional network on 500 noisy digits of scikit-learn, until
it knows them by heart, fits every calibrator on 400 others, and prints means
over the seeds of the expected calibration error, the negative log likelihood
and the accuracy on the remaining 897. An ensemble has four more networks of the
same 500 digits, from other seeds.
"""

from __future__ import annotations

import argparse
import warnings

import keras
import numpy as np
from keras import layers
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import keras_explain as ke
from keras_explain import calibration

CALIBRATORS = {
    "none": None,
    "TemperatureScaling": calibration.TemperatureScaling,
    "VectorScaling": calibration.VectorScaling,
    "MatrixScaling": calibration.MatrixScaling,
    "MatrixScaling, odir=(1, 1)": lambda m: calibration.MatrixScaling(
        m, odir=(1.0, 1.0)
    ),
    "PlattScaling": calibration.PlattScaling,
    "IsotonicCalibration": calibration.IsotonicCalibration,
    "HistogramBinning": calibration.HistogramBinning,
    "BayesianBinning": calibration.BayesianBinning,
}
ENSEMBLES = {
    "Ensemble of 5": lambda ensemble: ensemble,
    "TemperatureScaling of that": calibration.TemperatureScaling,
}
MEMBERS = 5
MEASURES = ("ECE", "NLL", "accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=300)
    names = (*CALIBRATORS, *ENSEMBLES)
    parser.add_argument("--only", choices=names, nargs="+", default=names)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ke.ExplainWarning)
    found = {name: [] for name in names if name in options.only}
    temperatures = []
    for seed in range(options.seeds):
        _, held_out, (x, y) = splits(seed)
        model = overconfident(seed, options.epochs)
        models = dict.fromkeys(CALIBRATORS, model)
        if set(ENSEMBLES) & set(found):
            others = [
                overconfident(seed, options.epochs, start=1000 * k + seed)
                for k in range(1, MEMBERS)
            ]
            ensemble = calibration.Ensemble([model, *others])
            models.update(dict.fromkeys(ENSEMBLES, ensemble))
        for name, rows in found.items():
            make = {**CALIBRATORS, **ENSEMBLES}[name]
            fitted = make(models[name]) if make else model
            if hasattr(fitted, "fit_logits"):  # a calibrator
                fitted.fit(held_out)
            rows.append(measured(fitted.predict(x, verbose=0), y))
            if name == "TemperatureScaling":
                temperatures.append(fitted.temperature)
    table = Table(
        title=f"{options.seeds} seeds; temperatures "
        + ", ".join(f"{t:.2f}" for t in temperatures)
    )
    for column in ("calibrator", *MEASURES):
        table.add_column(column)
    for name, rows in found.items():
        mean, spread = np.mean(rows, 0), np.std(rows, 0)
        pairs = zip(mean, spread, strict=True)
        cells = [f"{m:.3f} +- {s:.3f}" for m, s in pairs]
        table.add_row(name, *cells)
        print("\t".join((name, *cells)), flush=True)
    Console().print(table)


def splits(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """500 digits to train on, 400 to calibrate on, 897 to measure on."""
    images, labels = load_digits(return_X_y=True)
    random = np.random.default_rng(seed)
    order = random.permutation(len(images))
    x = images[order].reshape(-1, 8, 8, 1) / 16
    x = (x + random.normal(scale=0.45, size=x.shape)).astype("float32")
    y = labels[order]
    return [(x[a:b], y[a:b]) for a, b in ((0, 500), (500, 900), (900, None))]


def overconfident(
    seed: int, epochs: int, start: int | None = None
) -> keras.Model:
    """A network that was trained far past the point of learning.

    Args:
        seed: Of the digits.
        epochs: Of the training.
        start: Seed of the weights; that of the digits if nothing is said.
    """
    keras.utils.set_random_seed(seed if start is None else start)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*splits(seed)[0], epochs=epochs, batch_size=50, verbose=0)
    return model


def measured(p: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    error = calibration.ExpectedCalibrationError()
    likelihood = calibration.NegativeLogLikelihood()
    for metric in (error, likelihood):
        metric.update_state(labels, p)
    accuracy = np.mean(p.argmax(-1) == labels)
    return float(error.result()), float(likelihood.result()), float(accuracy)


if __name__ == "__main__":
    main()
