"""The reliability diagrams of the guide to calibration.

python docs/calibration_picture.py

Those of the first network of `benchmarks/calibration.py`, as it is and with a
temperature.
"""

import io
import sys
from pathlib import Path

from PIL import Image

from keras_explain import plots
from keras_explain.calibration import ReliabilityDiagram, TemperatureScaling

ROOT = Path(__file__).resolve().parents[1]
PATH = ROOT / "docs" / "images" / "reliability.png"

sys.path.insert(0, str(ROOT / "benchmarks"))
from calibration import overconfident, splits  # noqa: E402

_, held_out, (x, y) = splits(0)
model = overconfident(0, epochs=300)
calibrator = TemperatureScaling(model).fit(held_out)
diagrams = {}
for name, p in (
    ("before", model.predict(x, verbose=0)),
    (f"after, T = {calibrator.temperature:.2f}", calibrator.predict(x)),
):
    diagrams[name] = ReliabilityDiagram()
    diagrams[name].update_state(y, p)
figure = plots.reliability_diagram(diagrams)
picture = Image.open(io.BytesIO(plots.to_png(figure))).convert("RGB")
picture = picture.quantize(64, dither=Image.Dither.NONE)
picture.save(PATH, optimize=True)
print(f"{PATH.name}: {picture.size}, {PATH.stat().st_size / 1e3:.0f} kB")
