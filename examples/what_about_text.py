"""What about text? Which words made the model say what it says?

python examples/what_about_text.py [FOLDER]

Words are numbers without a gradient, so the attribution is to the output of
the embedding layer: one value for each word and feature.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_explain import IntegratedGradients, plots

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "explanations")
keras.utils.set_random_seed(0)
# A review is good if it has the word "good", or "bad" right after "not".
WORDS = ["", "not", "good", "bad", *"the film was a tale of two dull".split()]
NOT, GOOD, BAD = 1, 2, 3


def reviews(num, length=8):
    rng = np.random.default_rng(0)
    tokens = rng.integers(4, len(WORDS), (num, length))
    place = rng.integers(1, length, num)
    verdict = rng.choice([GOOD, BAD], num)
    negated = rng.random(num) < 0.5
    rows = np.arange(num)
    tokens[rows, place] = verdict
    tokens[rows[negated], place[negated] - 1] = NOT
    return tokens, (verdict == GOOD) ^ negated


tokens, good = reviews(4000)
inputs = keras.Input((None,), dtype="int32")
x = layers.Embedding(len(WORDS), 8, name="embedding")(inputs)
x = layers.LSTM(16)(x)
model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
model.optimizer.learning_rate = 0.01
history = model.fit(tokens, good, epochs=6, batch_size=64, verbose=0)
print(f"accuracy {history.history['accuracy'][-1]:.3f}")

explainer = IntegratedGradients(model, layer="embedding")
explanation = explainer.explain(tokens[:6])
words = np.array(WORDS)[tokens[:6]]
titles = [f"logit of 'good': {score:.1f}" for score in explanation.scores]
figure = plots.plot_attributions(words, explanation.attributions, titles=titles)
plots.save(figure, folder / "what_about_text.png")
