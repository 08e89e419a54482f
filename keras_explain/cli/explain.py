"""`keras-explain explain`: a model, images, methods; a folder of results."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from keras_explain.cli import (
    images,
    labels,
    models,
    store,
    terminal,
)
from keras_explain.cli.failures import (
    DONE,
    INTERRUPTED,
    SOME_FAILED,
    CommandError,
    ImageError,
    shown,
)
from keras_explain.cli.job import Job
from keras_explain.cli.run import Method, Outcome, Picture
from keras_explain.engine import catalogue, interruption
from keras_explain.report import Column, Report
from keras_explain.version import __version__

# More heat maps would make a page that browsers open slowly.
MOST_MAPS = 600


def explain(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    methods = chosen_methods(arguments.method, bool(arguments.examples))
    out = Path(arguments.out)
    terminal.check_writable(out)
    paths = images.find(arguments.images, out)
    if arguments.batch_size < 1:
        raise CommandError("--batch-size must be at least 1.")
    source = models.source(arguments)
    names = labels.read(arguments.labels) if arguments.labels else None
    kept = store.Store(out, _options(arguments, source, methods, names))
    pending = [path for path in paths if not kept.is_done(path)]
    if len(pending) < len(paths):
        terminal.say(
            f"Done already: {len(paths) - len(pending)} of "
            f"{terminal.counted(len(paths), 'image')}, in {shown(out)}."
        )
    failures: dict[Path, str] = {}
    if pending:
        job = Job(arguments, source, methods, names)
        for notice in job.notices:
            terminal.say(notice)
        work = _Work(job, kept, arguments.batch_size, failures)
        try:
            work.explain(pending)
        except KeyboardInterrupt:
            done = sum(kept.is_done(path) for path in paths)
            terminal.say(
                f"Interrupted. Done: {done} of "
                f"{terminal.counted(len(paths), 'image')}, kept in "
                f"{shown(out)}. Run the same command again to go on."
            )
            return INTERRUPTED
        for warning in job.run.warnings:
            terminal.say(f"Note: {warning}")
    return _finish(kept, methods, source.name, failures)


def chosen_methods(text: str, can_learn: bool = False) -> list[Method]:
    """Returns the methods of a comma-separated list, or all.

    Args:
        text: The list, or `all`.
        can_learn: Whether there are examples; without, all are those that
            learn from none.

    Raises:
        CommandError: If there is no such method.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["all"]:
        return [
            Method(entry)
            for entry in catalogue.entries()
            if can_learn or not hasattr(entry.cls, "fit")
        ]
    try:
        return [Method(catalogue.find(n)) for n in dict.fromkeys(names)]
    except ValueError as error:
        text = str(error)
        raise CommandError(
            f"{text}\n'keras-explain methods' lists them all."
        ) from error


def _options(
    arguments: argparse.Namespace,
    source: models.Source,
    methods: Sequence[Method],
    names: labels.Labels | None,
) -> str:
    return store.fingerprint(
        __version__,
        source.identity,
        [(method.name, method.options) for method in methods],
        [
            arguments.target,
            arguments.output,
            arguments.layer,
            arguments.preprocess,
            arguments.size,
            arguments.examples,
        ],
        names.names if names else None,
    )


class _Work:
    """Takes images through a job in batches, and keeps the results."""

    def __init__(
        self,
        job: Job,
        kept: store.Store,
        batch_size: int,
        failures: dict[Path, str],
    ):
        self.job = job
        self.kept = kept
        self.batch_size = batch_size
        self.failures = failures
        self.successes = 0

    def explain(self, paths: Sequence[Path]) -> None:
        with (
            terminal.progress("Images", len(paths)) as advance,
            interruption.between_steps() as check,
        ):
            for batch in self._batches(paths, advance):
                try:
                    self._batch(batch)
                except BaseException:
                    for path, _, _ in batch:
                        self.kept.abandon(path)
                    raise
                for path, _, _ in batch:
                    advance(path.name)
                check()

    def _batches(
        self, paths: Sequence[Path], advance: terminal.Advance
    ) -> Iterator[list[tuple[Path, str, Picture]]]:
        """Groups neighbors of one size; says which images are broken."""
        loaded = self._loaded(paths, advance)
        for _, group in itertools.groupby(
            loaded, key=lambda item: item[2].pixels.shape
        ):
            while batch := list(itertools.islice(group, self.batch_size)):
                yield batch

    def _loaded(
        self, paths: Sequence[Path], advance: terminal.Advance
    ) -> Iterator[tuple[Path, str, Picture]]:
        for path in paths:
            try:
                # Before decoding: a file that changes meanwhile is redone.
                key = self.kept.key(path)
                yield path, key, self.job.picture(path)
            except (ImageError, OSError) as error:
                self._fail(path, str(error))
                advance(path.name)

    def _fail(self, path: Path, reason: str) -> None:
        self.failures[path] = reason
        self.kept.abandon(path)
        first = reason.strip().splitlines()[0]
        terminal.say(f"Skipped {shown(path)}: {first}")

    def _batch(self, batch: list[tuple[Path, str, Picture]]) -> None:
        pictures = [picture for _, _, picture in batch]
        columns = [
            self.job.run.explain(method, pictures)
            for method in self.job.run.methods
        ]
        predictions = self.job.run.predictions(pictures)
        about = self.job.about()
        for k, (path, key, picture) in enumerate(batch):
            outcomes = [column[k] for column in columns]
            if all(outcome.cell.refused for outcome in outcomes):
                self._refused(path, outcomes)
                continue
            self.kept.finish(
                path,
                key,
                picture,
                outcomes=outcomes,
                predictions=predictions[k],
                about=about,
            )
            self.successes += 1

    def _refused(self, path: Path, outcomes: list[Outcome]) -> None:
        """No method has anything to say: is it the picture or the model?"""
        reason = outcomes[0].cell.refused
        if not self.successes and self.job.refuses_any_picture():
            raise CommandError(reason)
        self._fail(path, reason)


def _finish(
    kept: store.Store,
    methods: Sequence[Method],
    model: str,
    failures: dict[Path, str],
) -> int:
    """Writes the report, and says how it went."""
    results = kept.results()
    if not results:
        terminal.say("No image could be explained, so there is no report.")
        return SOME_FAILED
    about = store.about([result for _, result in results])
    notices = list(about.notices)
    most = max(1, MOST_MAPS // len(methods))
    if len(results) > most:
        notices.append(
            f"The page shows the first {most} of {len(results)} images; "
            "the others are in the folders beside it."
        )
    report = Report(
        title=f"Where {model} looks",
        columns=tuple(Column.of(m.entry, m.text()) for m in methods),
        rows=store.rows(results[:most]),
        facts=(
            ("Model", model),
            ("Images", str(len(results))),
            *about.facts,
            ("Version", f"keras_explain {__version__}"),
        ),
        notices=tuple(notices),
        skipped=tuple((shown(p), why) for p, why in failures.items()),
    )
    path = kept.out / "index.html"
    report.write(path)
    failed = f"; skipped {len(failures)}" if failures else ""
    shows = terminal.counted(len(results), "image")
    terminal.say(f"The report shows {shows}{failed}.")
    terminal.result(path)
    return SOME_FAILED if failures else DONE
