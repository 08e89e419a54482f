"""The arguments of the command line. Nothing slow is imported here."""

from __future__ import annotations

import argparse

from keras_explain.cli.evaluation_arguments import evaluate
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
        description="Shows where Keras models look, and what they look for.",
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
    _visualize(add("visualize", "make pictures of what a model looks for"))
    _dream(add("dream", "change a picture to what a layer sees in it"))
    _calibrate(add("calibrate", "make a model as sure as it is right"))
    evaluate(add("evaluate", "find out which methods to believe"))
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
    _preprocess(command)
    _size(command)
    _labels(command)


def _preprocess(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--preprocess",
        default="auto",
        metavar="HOW",
        choices=("auto", "none", "scale01", "scale11", "caffe", "torch", "tf"),
        help="how pixels of 0 to 255 are prepared for the model: "
        "%(choices)s (default: %(default)s)",
    )


def _size(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--size",
        metavar="PIXELS",
        type=int,
        help="height and width, for models that take any size",
    )


def _labels(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--labels",
        metavar="FILE",
        help="names of the classes: one a line, or JSON",
    )


def _number(
    command: argparse.ArgumentParser, option: str, default: float, text: str
) -> None:
    command.add_argument(
        option,
        type=type(default),
        default=default,
        metavar="N",
        help=f"{text} (default: %(default)s)",
    )


def _visualize(command: argparse.ArgumentParser) -> None:
    _model(command)
    command.add_argument(
        "--layer",
        metavar="LAYER",
        help="make pictures of channels of this layer, and not of classes; "
        "'keras-explain layers MODEL' lists them",
    )
    command.add_argument(
        "--units",
        metavar="LIST",
        help="which channels, such as 0-15 or 1,4,7-9 (default: the first 16)",
    )
    command.add_argument(
        "--classes",
        metavar="LIST",
        help="which classes, such as 0-9 or 0,3,5 (default: the first 16)",
    )
    command.add_argument(
        "--output", metavar="NAME", help="which output, if there are several"
    )
    _number(command, "--steps", 256, "steps of each picture")
    _number(command, "--batch", 1, "pictures of each class or channel")
    _number(command, "--at-once", 16, "most pictures in memory at once")
    _number(command, "--seed", 0, "which noise the pictures begin as")
    _size(command)
    _preprocess(command)
    _labels(command)
    command.add_argument(
        "--gif",
        action="store_true",
        help="write a moving picture of the steps as well",
    )
    command.add_argument(
        "--out",
        default="pictures",
        metavar="DIR|FILE.png",
        help="folder for a page and all pictures, or a .png file for a grid "
        "of them (default: %(default)s)",
    )


def _dream(command: argparse.ArgumentParser) -> None:
    _model(command)
    command.add_argument("image", metavar="IMAGE", help="the picture")
    command.add_argument(
        "--layer",
        required=True,
        metavar="LAYER[:WEIGHT],...",
        help="what to see in the picture: a layer, or several with weights, "
        "such as mixed4:1,mixed5:1.5",
    )
    _number(command, "--octaves", 4, "number of sizes, the small ones first")
    _number(command, "--octave-scale", 1.4, "how much each is larger")
    _number(command, "--steps", 10, "steps in each octave")
    _number(
        command, "--step-size", 1.5, "mean change of a step, of 255 gray levels"
    )
    _number(command, "--seed", 0, "how the picture is moved about")
    _number(command, "--size", 512, "longest side; larger ones are shrunk")
    command.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="side of the tiles of large pictures (default: what the model "
        "takes, or 512)",
    )
    _preprocess(command)
    command.add_argument(
        "--out",
        default="dream.png",
        metavar="FILE.png",
        help="picture to write (default: %(default)s)",
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
