"""Reads the command line and runs one command.

TensorFlow takes seconds to start, so the commands are imported after the
arguments have been read.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence

from keras_explain.cli.arguments import parser
from keras_explain.cli.failures import INTERRUPTED, WRONG_INPUT, CommandError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `keras-explain`.

    Args:
        argv: The arguments; `None` for those of the process.

    Returns:
        The exit code: 0 if all is done, 1 if some images failed, 2 if the
        command cannot be done as it was given, 130 if it was interrupted.
    """
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as stop:  # --help, --version or a wrong argument
        return stop.code if isinstance(stop.code, int) else WRONG_INPUT
    if arguments.command is None:
        parser().print_help()
        return WRONG_INPUT
    try:
        _start_tensorflow(arguments.debug)
        return _run(arguments)
    except KeyboardInterrupt:
        print("keras-explain: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (CommandError, OSError) as error:
        if arguments.debug:
            raise
        print(f"keras-explain: {error}", file=sys.stderr)
    except Exception as error:
        if arguments.debug:
            raise
        kind = type(error).__name__
        print(
            f"keras-explain: {kind}: {error}\n"
            "This was not expected; --debug shows where it happened.",
            file=sys.stderr,
        )
    return WRONG_INPUT


def _start_tensorflow(debug: bool) -> None:
    """Imports TensorFlow without the news that it prints as it starts.

    It writes them to the file descriptor, whatever its log level is, and
    they would stand around the one message that matters.
    """
    if debug or "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    descriptor, is_started = os.dup(2), False
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            import keras  # noqa: F401
            import tensorflow  # noqa: F401

            is_started = True
        finally:
            os.dup2(descriptor, 2)
            os.close(descriptor)
            if not is_started:
                aside.seek(0)
                sys.stderr.write(aside.read().decode(errors="replace"))


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "demo":
        from keras_explain.cli.demo import demo

        return demo(arguments)
    if arguments.command == "explain":
        from keras_explain.cli.explain import explain

        return explain(arguments)
    if arguments.command == "calibrate":
        from keras_explain.cli.calibrate import calibrate

        return calibrate(arguments)
    if arguments.command == "evaluate":
        from keras_explain.cli.evaluate import evaluate

        return evaluate(arguments)
    if arguments.command == "visualize":
        from keras_explain.cli.visualize import visualize

        return visualize(arguments)
    if arguments.command == "dream":
        from keras_explain.cli.dream import dream

        return dream(arguments)
    from keras_explain.cli import tables

    return getattr(tables, arguments.command)(arguments)
