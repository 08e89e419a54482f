"""The contract of names, and what importing the package costs."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

import keras_explain
from keras_explain.engine import catalogue

# Other people's scripts use these.
NAMES = """
Class Neuron Channel LayerActivation Direction Output Gradient Saliency
Sensitivity InputXGradient IntegratedGradients SmoothGrad VarGrad SquareGrad
GuidedBackprop DeconvNet GuidedGradCAM CAM GradCAM GradCAMPlusPlus HiResCAM
XGradCAM LayerCAM ElementwiseGradCAM EigenCAM EigenGradCAM ScoreCAM
AblationCAM LRP DeepTaylor ExcitationBackprop ContrastiveExcitationBackprop
DeepLIFT DeepSHAP GradientSHAP PatternNet PatternAttribution
""".split()

PROBE = """
import sys
import keras, tensorflow
names = {"matplotlib", "tensorflow_datasets", "jinja2"} - set(sys.modules)
import keras_explain
keras_explain.GradCAM
late = [name for name in names if name in sys.modules]
print(late)
"""


def test_names_are_there():
    for name in NAMES:
        assert name in keras_explain.__all__
    for name in keras_explain.__all__:
        assert getattr(keras_explain, name) is not None


def test_every_method_is_a_public_name():
    for entry in catalogue.entries():
        assert getattr(keras_explain, entry.cls.__name__) is entry.cls


def test_the_version_is_one():
    import importlib.metadata

    installed = importlib.metadata.version("keras-explain-toolkit")
    assert installed == keras_explain.__version__


def test_import_is_light():
    """No package that is used late comes in early.

    The time itself is measured by `benchmarks/import_time.py`.
    """
    ran = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip().splitlines()[-1] == "[]"


def test_a_misspelled_name_is_answered_with_near_ones():
    with pytest.raises(AttributeError, match="Near names: 'GradCAM'"):
        _ = keras_explain.Gradcam
    assert not hasattr(keras_explain, "__wrapped__")
    assert set(NAMES) <= set(dir(keras_explain))


def test_every_folder_of_methods_is_an_attribute():
    """`import keras_explain` is enough, whatever the package."""
    folders = {
        path.parent.name
        for path in pathlib.Path(keras_explain.__file__).parent.glob(
            "*/__init__.py"
        )
    } - {"cli", "report"}
    assert folders == set(keras_explain._PACKAGES)
    assert all(hasattr(keras_explain, name) for name in folders)
