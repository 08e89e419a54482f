"""The network of the deep image prior: its published shape, and the sums."""

from __future__ import annotations

import random

import keras
import numpy as np
import pytest
from scipy import ndimage

from keras_explain.synthesis.networks import (
    BatchStandardization,
    Hourglass,
    ReflectPadding2D,
    hourglass,
)


def count(channels, skips, inputs, outputs, down=3, up=3, mix=True):
    """Parameters of the published network, counted scale by scale."""

    def convolved(before, after, kernel):
        return before * after * kernel**2 + after + 2 * after

    total, before = 0, inputs
    for scale, (width, skip) in enumerate(zip(channels, skips, strict=True)):
        below = channels[min(scale + 1, len(channels) - 1)]
        total += convolved(before, width, down) + convolved(width, width, down)
        total += convolved(before, skip, 1) if skip else 0
        total += 2 * (skip + below) + convolved(skip + below, width, up)
        total += convolved(width, width, 1) if mix else 0
        before = width
    return total + channels[0] * outputs + outputs


def test_the_published_network_has_the_published_number_of_weights():
    """2217831 is what the notebook for denoising prints."""
    network = hourglass((512, 512, 3))
    assert network.count_params() == 2217831
    assert count((128,) * 5, (4,) * 5, 32, 3) == 2217831
    assert not network.non_trainable_variables


@pytest.mark.parametrize(
    "channels, options",
    [
        ((16, 32, 64), {"skip_channels": 0, "input_channels": 1,
                        "kernel_down": 5, "one_by_one": False}),
        ((8, 16, 32), {"skip_channels": (0, 0, 4), "input_channels": 3}),
        ((8, 8), {"skip_channels": 8, "kernel_up": 5}),
    ],
)  # fmt: skip
def test_other_shapes_of_it(channels, options):
    network = hourglass((64, 96, 2), channels, **options)
    skips = options["skip_channels"]
    skips = skips if isinstance(skips, tuple) else (skips,) * len(channels)
    assert network.count_params() == count(
        channels, skips, options.get("input_channels", 32), 2,
        options.get("kernel_down", 3), options.get("kernel_up", 3),
        options.get("one_by_one", True),
    )  # fmt: skip


@pytest.mark.parametrize("downsampling", ["stride", "average"])
@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_each_scale_halves_the_sides(downsampling, padding):
    network = hourglass((96, 64, 3), (8, 8, 8), downsampling=downsampling,
                        padding=padding)  # fmt: skip
    for scale in range(3):
        for name, halved in (("down", scale + 1), ("encode", scale + 1),
                             ("join", scale), ("mix", scale)):  # fmt: skip
            output = network.get_layer(f"scale{scale}_{name}_norm").output
            expected = (None, 96 // 2**halved, 64 // 2**halved)
            assert output.shape[:3] == expected, (scale, name)


def slowly(network, code, skips, upsampling):
    """The network once more, with NumPy, from the paper's description."""
    weights = {
        layer.name: [np.asarray(w, np.float64) for w in layer.weights]
        for layer in network.layers
    }

    def convolve(x, name, step=1):
        kernel, bias = weights[name]
        reach = kernel.shape[0] // 2
        x = np.pad(x, [(reach, reach)] * 2 + [(0, 0)], "reflect")
        rows = range(0, x.shape[0] - 2 * reach, step)
        columns = range(0, x.shape[1] - 2 * reach, step)
        size = kernel.shape[0]
        return bias + np.array(
            [
                [
                    np.einsum("ijc,ijcd->d", x[i : i + size, j : j + size],
                              kernel)
                    for j in columns
                ]
                for i in rows
            ]
        )  # fmt: skip

    def normal(x, name):
        gamma, beta = weights[name]
        mean, variance = x.mean((0, 1)), x.var((0, 1))
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    def block(x, name, step=1):
        x = normal(convolve(x, f"{name}_conv", step), f"{name}_norm")
        return np.where(x > 0, x, 0.2 * x)

    def double(x):
        if upsampling == "nearest":
            return x.repeat(2, 0).repeat(2, 1)
        sides = [2 * np.arange(n) + 0.5 for n in x.shape[:2]]
        # The centers of the cells, in halves of a cell.
        rows, columns = (
            np.clip((np.arange(2 * len(s)) - 0.5) / 2, 0, len(s) - 1)
            for s in sides
        )
        grid = np.meshgrid(rows, columns, indexing="ij")
        return np.stack(
            [
                ndimage.map_coordinates(x[..., k], grid, order=1)
                for k in range(x.shape[-1])
            ],
            -1,
        )

    def scale(x, k):
        y = block(x, f"scale{k}_down", 2)
        y = block(y, f"scale{k}_encode")
        if k + 1 < len(skips):
            y = scale(y, k + 1)
        y = double(y)
        if skips[k]:
            y = np.concatenate([block(x, f"scale{k}_skip"), y], -1)
        y = normal(y, f"scale{k}_join_norm")
        return block(block(y, f"scale{k}_decode"), f"scale{k}_mix")

    return 1 / (1 + np.exp(-convolve(scale(code, 0), "last")))


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_it_computes_what_the_paper_describes(upsampling):
    skips = (3, 0)
    network = hourglass((8, 12, 2), (6, 5), skip_channels=skips,
                        input_channels=4, upsampling=upsampling)  # fmt: skip
    rng = np.random.default_rng(0)
    for weight in network.trainable_variables:  # not only ones and zeros
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    code = rng.uniform(size=(8, 12, 4)).astype(np.float32)
    made = np.asarray(network(code[np.newaxis]))[0]
    expected = slowly(network, code, skips, upsampling)
    np.testing.assert_allclose(made, expected, atol=2e-4)


def test_inference_is_as_training():
    network = hourglass((16, 16, 3), (4, 4))
    code = np.random.default_rng(0).uniform(size=(1, 16, 16, 32))
    np.testing.assert_array_equal(
        network(code, training=True), network(code, training=False)
    )


def test_statistics_are_those_of_the_batch():
    x = np.random.default_rng(0).normal(3, 2, (1, 6, 7, 4)).astype(np.float32)
    y = np.asarray(BatchStandardization()(x))
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, atol=1e-4)


def test_the_border_is_a_mirror():
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    expected = np.pad(x, [(0, 0), (2, 2), (2, 2), (0, 0)], "reflect")
    np.testing.assert_array_equal(ReflectPadding2D(2)(x), expected)


def test_sides_that_cannot_be_halved_are_cropped():
    network = hourglass((37, 50, 1), (4, 4, 4))
    assert network.input_shape == (None, 40, 56, 32)
    assert network.output_shape == (None, 37, 50, 1)


def test_weights_are_drawn_as_published():
    network = hourglass((32, 32, 3), (64, 64))
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            inputs = np.prod(layer.kernel.shape[:3])
            for weight in (layer.kernel, layer.bias):
                values = np.asarray(weight) * np.sqrt(inputs)
                assert np.abs(values).max() <= 1
                if values.size > 100:
                    assert values.std() == pytest.approx(3**-0.5, rel=0.1)
    same, other = (hourglass((32, 32, 3), (64, 64), seed=s) for s in (0, 1))
    for a, b in zip(network.weights, same.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(network.weights[0], other.weights[0])


def test_it_leaves_keras_alone():
    """No seed is used up, no name is taken, no policy is followed."""
    keras.config.set_dtype_policy("mixed_float16")
    before = random.getstate()
    network = hourglass((16, 16, 3), (4, 4))
    assert random.getstate() == before
    assert {w.dtype for w in network.weights} == {"float32"}
    assert network.output.dtype == "float32"
    assert network(np.ones((1, 16, 16, 32))).dtype == "float32"


def test_a_network_is_saved_by_keras(tmp_path):
    network = hourglass((18, 16, 3), (4, 4), padding="zero")
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    code = np.random.default_rng(0).uniform(size=(1, 20, 16, 32))
    np.testing.assert_array_equal(network(code), again(code))


def test_settings_are_values():
    one = Hourglass([8, 8], [0, 4], upsampling=["nearest", "bilinear"])
    two = Hourglass((8, 8), (0, 4), upsampling=("nearest", "bilinear"))
    assert one == two and hash(one) == hash(two)
    assert Hourglass.from_config(one.get_config()) == one
    assert one != Hourglass((8, 8))


MISTAKES = [
    ({"channels": 128}, TypeError, "with the number of each scale"),
    ({"channels": ()}, TypeError, "with the number of each scale"),
    ({"channels": (8, 0)}, ValueError, "integers from 1"),
    ({"channels": (8, 2.5)}, ValueError, "integers from 1"),
    ({"skip_channels": (4, 4)}, ValueError, "for each of the 5"),
    ({"skip_channels": -1}, ValueError, "integers from 0"),
    ({"kernel_down": 4}, ValueError, "integers from 1, odd"),
    ({"kernel_up": (3, 3, 3, 3, 2)}, ValueError, "odd"),
    ({"upsampling": "cubic"}, ValueError, "'bilinear' or 'nearest'"),
    ({"downsampling": "max"}, ValueError, "'stride', 'average'"),
    ({"padding": "same"}, ValueError, "'reflect', 'zero'"),
    ({"input_channels": 0}, ValueError, "at least 1"),
]


@pytest.mark.parametrize("options, kind, text", MISTAKES)
def test_mistakes(options, kind, text):
    with pytest.raises(kind, match=text):
        Hourglass(**options)


def test_pictures_that_are_too_small():
    with pytest.raises(ValueError, match=r"at least 64(.|\n)*\(128,\) \* 4"):
        hourglass((63, 100, 3))
    assert hourglass((64, 64, 3)).output_shape == (None, 64, 64, 3)
    with pytest.raises(ValueError, match="sides of at least 24"):
        hourglass((16, 16, 3), (8,) * 3, kernel_down=5)
    with pytest.raises(ValueError, match=r"\(height, width, channels\)"):
        hourglass((64, 64))
