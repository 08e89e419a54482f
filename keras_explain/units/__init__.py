"""What the units of a layer do: what they hold, and what they look for."""

from keras_explain.units.activations import Activations
from keras_explain.units.filters import kernel_layer, kernels

__all__ = ["Activations", "kernel_layer", "kernels"]
