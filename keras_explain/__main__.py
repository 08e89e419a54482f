"""`python -m keras_explain` is the command `keras-explain`."""

import sys

from keras_explain.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
