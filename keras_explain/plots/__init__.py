"""Arrays in, pictures and Matplotlib figures out; no model is needed here.

Figures are made without `pyplot`: show them in a notebook by naming them, and
write them with `save` or `to_png`.
"""

from keras_explain.plots.change import change
from keras_explain.plots.color import (
    collapse_channels,
    normalize,
    to_displayable,
)
from keras_explain.plots.explanation import plot_attributions
from keras_explain.plots.files import save, to_png
from keras_explain.plots.grids import grid
from keras_explain.plots.heatmaps import heatmap, plot_heatmap
from keras_explain.plots.reliability import reliability_diagram
from keras_explain.plots.series import signal
from keras_explain.plots.slices import volume
from keras_explain.plots.table import bars
from keras_explain.plots.tokens import sequence

__all__ = [
    "bars",
    "change",
    "collapse_channels",
    "grid",
    "heatmap",
    "normalize",
    "plot_attributions",
    "plot_heatmap",
    "reliability_diagram",
    "save",
    "sequence",
    "signal",
    "to_displayable",
    "to_png",
    "volume",
]
