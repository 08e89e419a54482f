"""Whether an explanation can be believed."""

from keras_explain.evaluation.agreement import human_agreement
from keras_explain.evaluation.axioms import (
    completeness,
    implementation_invariance,
    linearity,
)
from keras_explain.evaluation.baselines import (
    center_map,
    edge_map,
    random_map,
)
from keras_explain.evaluation.curves import (
    deletion,
    insertion,
    perturbation_curve,
)
from keras_explain.evaluation.erasure import log_odds_erasure
from keras_explain.evaluation.faithfulness import infidelity, sensitivity_n
from keras_explain.evaluation.features import sensitivity_a, sensitivity_b
from keras_explain.evaluation.labels import label_randomization
from keras_explain.evaluation.localization import (
    pointing_game,
    weak_localization,
)
from keras_explain.evaluation.neurons import neuron_sensitivity
from keras_explain.evaluation.randomization import model_randomization
from keras_explain.evaluation.result import Evaluation
from keras_explain.evaluation.road import road
from keras_explain.evaluation.shifts import shift_invariance
from keras_explain.evaluation.stability import max_sensitivity
from keras_explain.evaluation.symmetry import symmetry

__all__ = [
    "Evaluation",
    "center_map",
    "completeness",
    "deletion",
    "edge_map",
    "human_agreement",
    "implementation_invariance",
    "infidelity",
    "insertion",
    "label_randomization",
    "linearity",
    "log_odds_erasure",
    "max_sensitivity",
    "model_randomization",
    "neuron_sensitivity",
    "perturbation_curve",
    "pointing_game",
    "random_map",
    "road",
    "sensitivity_a",
    "sensitivity_b",
    "sensitivity_n",
    "shift_invariance",
    "symmetry",
    "weak_localization",
]
