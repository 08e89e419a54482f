"""The arguments of `keras-explain evaluate`. Nothing slow is imported here."""

from __future__ import annotations

import argparse


def evaluate(command: argparse.ArgumentParser) -> None:
    """Adds them to the parser of the command."""
    command.add_argument(
        "model",
        metavar="MODEL",
        help="a .keras or .h5 file, a SavedModel folder, a name from "
        "keras.applications, or demo for the model of the library",
    )
    command.add_argument(
        "data",
        metavar="DATA",
        help="an .npz file: x, as the model takes it, y, class numbers or "
        "one-hot rows, and, if they are known, masks of the objects; or demo "
        "for pictures of the library",
    )
    _choice(
        command,
        "--methods",
        "all",
        "methods by name, or all; 'keras-explain methods' lists them",
    )
    _choice(
        command,
        "--measures",
        "usual",
        "measures by name, usual or all, which takes longer",
    )
    _number(command, "--samples", 64, "how many samples of DATA")
    _number(command, "--batch-size", 32, "samples the model sees at once")
    _number(command, "--seed", 0, "of all that is random")
    command.add_argument(
        "--reduce",
        default="auto",
        choices=("auto", "sum", "magnitude"),
        metavar="HOW",
        help="how the channels of a map become one value for each pixel: sum, "
        "with signs, magnitude, or auto for what the paper of a method does "
        "(default: %(default)s)",
    )
    command.add_argument(
        "--exact",
        action="store_true",
        help="run the methods with as many samples as by default, and not "
        "with fewer to be quick",
    )
    command.add_argument(
        "--no-baselines",
        action="store_true",
        help="leave out the maps that know nothing of the model",
    )
    _files(command)


def _choice(
    command: argparse.ArgumentParser, option: str, default: str, text: str
) -> None:
    command.add_argument(
        option,
        default=default,
        metavar="NAME,...",
        help=f"{text} (default: %(default)s)",
    )


def _number(
    command: argparse.ArgumentParser, option: str, default: int, text: str
) -> None:
    command.add_argument(
        option,
        type=int,
        default=default,
        metavar="N",
        help=f"{text} (default: %(default)s)",
    )


def _files(command: argparse.ArgumentParser) -> None:
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
    command.add_argument(
        "--out",
        default="evaluation",
        metavar="DIR",
        help="folder to write to (default: %(default)s)",
    )
