"""The command line: `keras-explain`."""
