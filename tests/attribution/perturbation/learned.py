"""What the tests of learned masks share."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_explain.attribution.perturbation.ascent import ascend, masks_of
from keras_explain.attribution.perturbation.extremal import (
    ExtremalPerturbation,
)
from keras_explain.attribution.perturbation.game import Game
from keras_explain.attribution.perturbation.rewards import rewarded
from keras_explain.attribution.perturbation.sites import sites_of
from keras_explain.engine.explainer import Attribution

_TESTS = pathlib.Path(__file__).parent.parent.parent
_GOLDEN = _TESTS / "reference" / "data" / "masks_golden.json"


def golden(name):
    """Numbers that the authors' code gave, by the key of their run."""
    return json.loads(_GOLDEN.read_text())[name]


def linear_model(kernel, activation=None):
    """Class scores that are linear in a picture, `(*positions, classes)`."""
    kernel = np.asarray(kernel, "float32")
    model = keras.Sequential(
        [
            keras.Input(kernel.shape[:-1]),
            layers.Flatten(),
            layers.Dense(
                kernel.shape[-1],
                use_bias=False,
                activation=activation,
                name="logits",
            ),
        ]
    )
    model.get_layer("logits").set_weights(
        [kernel.reshape(-1, kernel.shape[-1])]
    )
    return model


def corners():
    """The model and the picture of the golden runs.

    The first class is the mean of the upper left quarter, the second that
    of the lower right one.
    """
    kernel = np.zeros((28, 28, 1, 2))
    kernel[:14, :14, 0, 0] = kernel[14:, 14:, 0, 1] = 20 / 14**2
    y, x = np.mgrid[:28, :28]
    picture = 1 + 0.3 * np.sin(0.7 * y) + 0.2 * np.cos(0.5 * x)
    return linear_model(kernel), picture[None, ..., None].astype("float32")


class Uncalibrated(ExtremalPerturbation):
    """The optimization alone, with what it came to as details."""

    framed = False
    padding = "edge"

    def _attribute(self, function):
        at = function.evaluate()
        function = rewarded(function.settled(at.indices), self.reward)
        sites = sites_of(function, at)
        game = Game(function, at, self.variant, self._perturb(sites))
        makers = [self._maker(site) for site in sites]
        makers = [
            dataclasses.replace(make, padding=self.padding) for make in makers
        ]
        areas = tf.constant(self.areas, tf.float64)
        found = ascend(game, makers, areas, self.settings, self.framed)
        (last,) = masks_of(makers, found.numbers)
        (before,) = masks_of(makers, found.before)
        details = {
            "numbers": found.numbers[0],
            "masks": last,
            "before": before,
            "history": found.history,
            "losses": found.losses,
            "reward": game.rewards([last]),
        }
        details = {
            name: tf.transpose(t, [1, 0, *range(2, t.shape.rank)])
            for name, t in details.items()
        }
        return Attribution(at.point, at, details=details)


class AsPublished(Uncalibrated):
    """With the area of the framed mask, as the authors' code has it."""

    framed = True
    padding = "zero"


class WithoutTies(Uncalibrated):
    """With zeros around the grid, so that no values of a mask are equal."""

    padding = "zero"
