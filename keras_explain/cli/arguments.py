"""The arguments of the command line. Nothing slow is imported here."""

from __future__ import annotations

import argparse

from keras_explain.version import __version__

CALIBRATORS = (
    "temperature",
    "vector",
    "matrix",
    "platt",
    "histogram",
    "isotonic",
    "bayesian-binning",
)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="keras-explain",
        description="Shows where Keras models look.",
        allow_abbrev=False,
    )
    made.add_argument(
        "--version", action="version", version=f"keras-explain {__version__}"
    )
    commands = made.add_subparsers(dest="command", metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--debug",
        action="store_true",
        help="show where an error happened in the code",
    )

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            parents=[shared],
            allow_abbrev=False,
        )

    _demo(add("demo", "explain demo pictures with every method"))
    _explain(add("explain", "explain images, and write a report"))
    _calibrate(add("calibrate", "make a model as sure as it is right"))
    add("methods", "list the methods")
    _model(add("layers", "list the layers of a model"))
    return made


def _demo(command: argparse.ArgumentParser) -> None:
    _out(command)
    command.add_argument(
        "--pictures",
        type=int,
        default=8,
        metavar="N",
        help="how many pictures (default: %(default)s)",
    )


def _out(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out",
        default="explanations",
        metavar="DIR",
        help="folder to write to (default: %(default)s)",
    )


def _model(
    command: argparse.ArgumentParser,
    files: str = "a .keras or .h5 file, a SavedModel folder",
) -> None:
    command.add_argument(
        "model",
        metavar="MODEL",
        help=f"{files}, or a name from keras.applications, such as ResNet50",
    )
    command.add_argument(
        "--weights",
        metavar="imagenet|none|FILE",
        help="weights of a model from keras.applications (default: imagenet)",
    )
    command.add_argument(
        "--unsafe",
        action="store_true",
        help="run code that a model file contains, such as Lambda layers; "
        "only for files that you trust",
    )


def _explain(command: argparse.ArgumentParser) -> None:
    _model(command)
    command.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="image file, folder, or pattern such as 'photos/**/*.jpg'",
    )
    command.add_argument(
        "--method",
        default="grad_cam,integrated_gradients",
        metavar="NAME,...",
        help="methods by name, or all (default: %(default)s); "
        "'keras-explain methods' lists them",
    )
    command.add_argument(
        "--examples",
        metavar="IMAGE",
        nargs="+",
        help="images, folders or patterns like those the model was trained "
        "on, for methods that learn from them first, such as pattern_net",
    )
    command.add_argument(
        "--batch-size",
        type=int,
        default=1,
        metavar="N",
        help="images explained at once (default: %(default)s)",
    )
    _out(command)
    _what(command)
    _pictures(command)


def _what(command: argparse.ArgumentParser) -> None:
    """What is explained: the class, the output, the layer."""
    command.add_argument(
        "--target",
        metavar="CLASS",
        help="class to explain, by number or name (default: the predicted one)",
    )
    command.add_argument(
        "--output", metavar="NAME", help="which output, if there are several"
    )
    command.add_argument(
        "--layer",
        metavar="LAYER",
        help="layer to look at (default: chosen by each method); "
        "'keras-explain layers MODEL' lists them",
    )


def _pictures(command: argparse.ArgumentParser) -> None:
    """How pictures reach the model, and the names of its classes."""
    command.add_argument(
        "--preprocess",
        default="auto",
        metavar="HOW",
        choices=("auto", "none", "scale01", "scale11", "caffe", "torch", "tf"),
        help="how pixels of 0 to 255 are prepared for the model: "
        "%(choices)s (default: %(default)s)",
    )
    command.add_argument(
        "--size",
        metavar="PIXELS",
        type=int,
        help="height and width, for models that take any size",
    )
    command.add_argument(
        "--labels",
        metavar="FILE",
        help="names of the classes: one a line, or JSON",
    )


def _calibrate(command: argparse.ArgumentParser) -> None:
    _model(command, "a .keras or .h5 file")
    command.add_argument(
        "data",
        metavar="DATA",
        help="an .npz file of samples the model was not trained on: x, as the "
        "model takes it, and y, class numbers or one-hot rows",
    )
    command.add_argument(
        "--method",
        default=CALIBRATORS[0],
        choices=CALIBRATORS,
        metavar="NAME",
        help="%(choices)s (default: %(default)s)",
    )
    command.add_argument(
        "--test",
        metavar="FILE",
        help="an .npz file to measure on; all of DATA is fitted on then",
    )
    command.add_argument(
        "--holdout",
        type=float,
        metavar="SHARE",
        help="without --test: the share of DATA that is left out of the fit "
        "and measured on (default: 0.5)",
    )
    command.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="which samples are held out (default: %(default)s)",
    )
    command.add_argument(
        "--batch-size",
        type=int,
        default=32,
        metavar="N",
        help="samples the model sees at once (default: %(default)s)",
    )
    command.add_argument(
        "--out",
        metavar="FILE",
        help="calibrated model to write, ending in .keras; its report is "
        "beside it, ending in .html (default: MODEL_calibrated.keras in this "
        "folder)",
    )
