"""What went wrong in other libraries does not go wrong here.

Each line was seen by running another library, or is an open report there. The
test that shows it is named beside it; those without a better place are below.
"""

from __future__ import annotations

import ast
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_explain as ke
from keras_explain import rules
from keras_explain.engine.explanation import Explanation
from tests.attribution.test_missing_rules import Bent
from tests.attribution.test_relevance import chain, vectors
from tests.attribution.test_unknown_operations import Square

TESTS = pathlib.Path(__file__).parent.parent
HERE = "laws/test_peer_defects.py"
_COMPOSITES = "reference/test_lrp_composites.py"
_RELEVANCE = "laws/test_relevance_laws.py"
_DEEPLIFT = "laws/test_deeplift_laws.py"
_LAWS = "laws/test_attribution_laws.py"
_FORMULAS = "reference/test_formulas.py"
_CHECKS = "engine/test_checks.py"
_MASKS = "attribution/perturbation/"

# `{what went wrong: file::test}`.
DEFECTS = {
    # Relevance and rules.
    "a second call of the same explainer gives other numbers":
        f"{_COMPOSITES}::test_simple_numbers_of_captum",
    "alpha-1 beta-0 looks at the sign of weights, not of inputs":
        f"{_COMPOSITES}::test_negative_inputs_under_alpha_one",
    "the first layer is the one that was made first":
        f"{_COMPOSITES}::test_the_first_layer_is_the_first_that_runs",
    "leaving out biases leaves out other weights of a like name":
        f"{HERE}::test_no_other_weight_is_taken_for_a_bias",
    "a softmax with masked scores makes NaN":
        f"{_COMPOSITES}::test_masked_scores_of_a_softmax_stay_finite",
    "the stabilizer has the same sign for negative values":
        "reference/test_lrp_rules.py::test_rules_by_the_jacobian",
    "excitation of zero is divided by zero":
        f"{HERE}::test_excitation_of_nothing_is_zero",
    "a plain `+` hands all relevance to both sides":
        f"{_COMPOSITES}::test_a_skip_connection_of_captum",
    "relevance is not conserved through batch normalization":
        f"{_RELEVANCE}::test_relevance_is_conserved_without_biases",
    "a batch normalization gives another map than what it can be folded to":
        f"{_RELEVANCE}::test_relevance_does_not_see_a_batch_norm",
    "nobody tells where relevance of biases went":
        f"{_RELEVANCE}::test_what_is_lost_is_known",
    # Differences from a reference.
    "a softmax on the way makes a sample depend on its batch":
        f"{_DEEPLIFT}::test_one_sample_is_explained_whatever_the_others",
    "a maximum equal to the reference's has the gradient of another sample":
        f"{_DEEPLIFT}::test_one_sample_is_explained_whatever_the_others",
    "merges and activations such as SiLU do not add up":
        f"{_DEEPLIFT}::test_contributions_sum_to_the_difference",
    "a sum that is wrong passes where scores are small":
        f"{HERE}::test_small_scores_are_judged_by_their_size",
    "after a refusal training and tapes of the user are broken":
        f"{HERE}::test_after_a_refusal_all_is_as_before",
    # Gradients.
    "an option for the explained output is ignored":
        f"{_LAWS}::test_logits_are_found_behind_every_softmax",
    "a softmax that was to be taken off is left on":
        f"{_COMPOSITES}::test_a_softmax_at_the_end_is_set_aside",
    "the head of the user's model is changed for good":
        "contract/test_explainers.py::test_every_method_on_every_model",
    "a map of a saturated softmax is blank, without a word":
        f"{_CHECKS}::test_saturated_softmax_is_told",
    "guided backprop is the gradient on nested models and ReLU layers":
        f"{_LAWS}::test_guided_backprop_differs_from_the_gradient_where_"
        "relus_hide",
    "guided backprop passes other nonlinearities by, without a word":
        f"{_CHECKS}::test_guided_rules_name_what_they_pass_by",
    "slope, threshold and cap of a ReLU are dropped, and the score with them":
        f"{HERE}::test_rules_leave_the_score_as_it_is",
    "integrated gradients are not multiplied with the difference":
        f"{_FORMULAS}::test_integrated_gradients_by_hand",
    "weights of the path do not sum to one":
        f"{_FORMULAS}::test_quadrature_weights_sum_to_one",
    "the mean over channels is returned, a third of what adds up":
        f"{_LAWS}::test_integrated_gradients_are_complete",
    "the gradient is that of a loss":
        f"{_FORMULAS}::test_gradient_family_by_finite_differences",
    "noise does not follow the range of the inputs":
        f"{_FORMULAS}::test_noise_wrappers_by_hand",
    "a model is kept alive by what explained it":
        "engine/test_interception.py::"
        "test_an_explainer_does_not_keep_the_model_alive",
    "targets of a wrong length fail deep inside":
        f"{_CHECKS}::test_wrong_number_of_targets",
    # Class activation maps.
    "Grad-CAM masks its gradients and has no ReLU":
        f"{_FORMULAS}::test_cam_formula",
    "cells are laid from corner to corner":
        f"{_FORMULAS}::test_resize_is_tensorflows_and_centered",
    "Score-CAM applies a softmax to probabilities":
        f"{_FORMULAS}::test_score_cam_gives_flat_channels_no_weight",
    "the last convolution is taken, whatever comes behind it":
        "engine/test_graph.py::test_the_automatic_layer_and_head",
    # Perturbation and surrogates.
    "Shapley values do not add up, and give to what does not count":
        "attribution/surrogate/test_shapley_values.py::"
        "test_missingness_and_dummy",
    "all masks of a batch are cropped at one place":
        f"{_MASKS}test_rise.py::"
        "test_masks_are_random_smooth_and_cropped_one_by_one",
    "maps of pictures that are no squares are turned around":
        f"{_MASKS}test_occlusion.py::test_formula",
    "the lead over other classes mixes the areas":
        f"{_MASKS}test_extremal.py::"
        "test_contrast_is_the_lead_over_the_best_other_class",
    "masks are too small where the grid does not divide the radius":
        f"{_MASKS}test_mask_generator.py::test_formula_and_gradient",
    "a mask that is returned has another area than asked for":
        f"{_MASKS}test_extremal.py::"
        "test_returned_masks_have_their_area_and_no_worse_a_score",
    # Pictures.
    "pictures of floats up to 255 wrap around":
        "plots/test_color.py::test_known_scales_show_the_same_picture",
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_test_shows_it(defect):
    path, name = DEFECTS[defect].split("::")
    tree = ast.parse((TESTS / path).read_text())
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    assert name in functions


class Scaled(layers.Dense):
    """A dense layer whose outputs are scaled by a weight called `b`."""

    def build(self, shape):
        super().build(shape)
        self.b = self.add_weight(shape=(self.units,), name="b")

    def call(self, x):
        return tf.matmul(x, self.kernel) * self.b + self.bias


def test_no_other_weight_is_taken_for_a_bias():
    model = chain(Scaled(2))
    kernel, scale = np.full((5, 2), 0.5), np.array([2.0, -3])
    weights = {"kernel": kernel, "bias": np.array([1.0, 1]), "b": scale}
    for variable in model.weights:
        variable.assign(weights[variable.path.split("/")[-1]])
    x = np.abs(vectors())
    composite = rules.Composite(
        ((rules.linear, rules.Epsilon(zero_bias=True)),)
    )
    found = ke.LRP(model, composite=composite)(x, 1)
    score = np.asarray(model(x))[:, 1:]
    expected = x / x.sum(1, keepdims=True) * score
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:The map of")
def test_excitation_of_nothing_is_zero():
    """Of a sum of zeros, of units all of which inhibit, of inputs of zero."""
    x = inputs = keras.Input((5,))
    x = layers.Dense(4, activation="relu")(x)
    x = layers.Add()([x, layers.Dense(4, activation="relu")(x)])
    model = keras.Model(inputs, layers.Dense(3)(x))
    for layer in model.layers[1:2]:
        layer.set_weights([-np.ones((5, 4)), np.zeros(4)])
    for x in (np.abs(vectors()), np.zeros((2, 5), "float32")):
        for method in (ke.ExcitationBackprop, ke.ContrastiveExcitationBackprop):
            np.testing.assert_array_equal(method(model)(x, 0), 0)


def test_small_scores_are_judged_by_their_size():
    """Half of a score of a millionth is as wrong as half of a thousand."""
    model = chain(layers.Dense(4), Square(), layers.Dense(3))
    rules.register(Square, rules.Norm())  # which it is not
    try:
        for size in (1e-6, 1e3):
            kernel, bias = model.layers[-1].get_weights()
            kernel *= size / np.abs(kernel).max()
            model.layers[-1].set_weights([kernel, bias])
            with pytest.warns(ke.ExplainWarning, match="not complete"):
                found = ke.DeepLIFT(model).explain(vectors(), 0)
            assert isinstance(found, Explanation)
    finally:
        rules.unregister(Square)


@pytest.mark.parametrize(
    "method",
    [ke.LRP, ke.DeepLIFT, lambda m: ke.DeepSHAP(m, background=vectors(3))],
    ids=["lrp", "deep_lift", "deep_shap"],
)
def test_after_a_refusal_all_is_as_before(method):
    model = chain(layers.Dense(4), Bent(), layers.Dense(3))
    x = tf.constant(vectors())

    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(x)
            score = tf.reduce_sum(model(x)[:, 0])
        return tape.gradient(score, x)

    before = gradient()
    with pytest.raises(ValueError, match="no rule"):
        method(model)(x, 0)
    np.testing.assert_array_equal(gradient(), before)
    np.testing.assert_allclose(ke.Gradient(model)(x, 0), before, rtol=1e-5)
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((2, 3)), verbose=0)


@pytest.mark.parametrize(
    "method", [ke.GuidedBackprop, ke.DeconvNet, ke.LRP, ke.DeepLIFT]
)
def test_rules_leave_the_score_as_it_is(method):
    """Rules are about the way back: the way forward is the model's."""
    relu = layers.ReLU(max_value=1.0, negative_slope=0.3, threshold=0.2)
    model = chain(layers.Dense(8), relu, layers.Dense(3))
    found = method(model).explain(3 * vectors(), 1)
    expected = np.asarray(model(3 * vectors()))[:, 1]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5)
