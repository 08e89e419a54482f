"""Every number that another library gave is used by a test."""

from __future__ import annotations

import json
import pathlib

import pytest

DATA = pathlib.Path(__file__).parent / "data"
TESTS = DATA.parent.parent

# The runs that were recorded: `{key: (file in data/, who reads it)}`.
RUNS = {
    "deeplift_min_example": ("deeplift", "reference/test_deeplift.py"),
    "deeplift_two_layer": ("deeplift", "reference/test_deeplift.py"),
    "lxt_add2": ("lrp", "reference/test_lrp_composites.py"),
    "lxt_layernorm": ("lrp", "reference/test_lrp_sequences.py"),
    "lxt_matmul": ("lrp", "reference/test_lrp_sequences.py"),
    "lxt_mul2": ("lrp", "reference/test_lrp_composites.py"),
    "lxt_softmax": ("lrp", "reference/test_lrp_sequences.py"),
    "patternnet_stats": ("pattern", "reference/test_patterns.py"),
    "pgc_cam": ("torch", "reference/test_golden_numbers.py"),
    "shap_kernel": (
        "surrogate", "attribution/surrogate/test_shapley_values.py"),
    "torchray_blur": ("masks", "attribution/perturbation/test_pyramids.py"),
    "torchray_ebp": ("excitation", "reference/test_excitation.py"),
    "torchray_ep_preserve_1": (
        "masks", "attribution/perturbation/test_extremal.py"),
    "torchray_ep_preserve_5": (
        "masks", "attribution/perturbation/test_extremal.py"),
    "torchray_ep_preserve_300": (
        "masks", "attribution/perturbation/test_extremal.py"),
    "torchray_fade": ("masks", "attribution/perturbation/test_pyramids.py"),
    "torchray_mask_generator": (
        "masks", "attribution/perturbation/test_mask_generator.py"),
    "torchray_mask_generator_224": (
        "masks", "attribution/perturbation/test_mask_generator.py"),
    "zennit_avgpool_norm": ("lrp", "reference/test_lrp_composites.py"),
    "zennit_bn_merge": ("lrp", "reference/test_lrp_composites.py"),
    "zennit_conv2d": ("lrp", "reference/test_lrp_rules.py"),
    "zennit_linear": ("lrp", "reference/test_lrp_rules.py"),
    "zennit_relu": ("torch", "reference/test_golden_numbers.py"),
}  # fmt: skip


def keys(name):
    return set(json.loads((DATA / f"{name}_golden.json").read_text()))


@pytest.mark.parametrize("key", RUNS)
def test_a_run_is_read(key):
    """By a test that names it, in full or with the number left open."""
    name, reader = RUNS[key]
    assert key in keys(name)
    text = (TESTS / reader).read_text()
    family, _, number = key.rpartition("_")
    numbered = f'"{family}_{{' in text and number.isdigit() and number in text
    assert f'"{key}"' in text or numbered


def test_no_run_is_left_out():
    """What is added to the data has to be added here, and be read."""
    names = {path.name.removesuffix("_golden.json")
             for path in DATA.glob("*_golden.json")}  # fmt: skip
    assert names == {name for name, _ in RUNS.values()}
    found = set().union(*map(keys, names)) - {"_meta"}
    assert found == set(RUNS)
