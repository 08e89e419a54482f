"""What does `import keras_explain` cost beyond TensorFlow and Keras?

    python benchmarks/import_time.py

Prints the median of five fresh processes. Budget: 0.3 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

PROBE = (
    "import time, keras, tensorflow; start = time.perf_counter(); "
    "import keras_explain; print(time.perf_counter() - start)"
)


def main() -> None:
    seconds = []
    for _ in range(5):
        ran = subprocess.run(
            [sys.executable, "-c", PROBE],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds.append(float(ran.stdout.split()[-1]))
    print(f"import keras_explain: {statistics.median(seconds):.3f} s of 0.3 s")


if __name__ == "__main__":
    main()
