"""Small changes that change what a classifier says, and images that fool it."""

from keras_explain.synthesis.adversarial.deep_fool import deepfool
from keras_explain.synthesis.adversarial.fooling import fooling_image
from keras_explain.synthesis.adversarial.gradient_sign import fgsm, pgd
from keras_explain.synthesis.adversarial.result import Adversarial

__all__ = ["Adversarial", "deepfool", "fgsm", "fooling_image", "pgd"]
