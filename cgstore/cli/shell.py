"""What all commands share: the options, answers on stdout, words on stderr, errors as one message and an exit code."""

import contextlib
import errno
import functools
import inspect
import json
import logging
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cgstore.errors import CgstoreError, InputError
from cgstore.printable import one_line, printable
from cgstore.store.locations import checked, is_url, redacted

__all__ = ["INTERRUPTED", "Progress", "Shell", "align", "command", "complain", "size"]

Progress = Callable[[str, int, int], None]

INTERRUPTED = 130
_BUG = "this is a fault of cgstore; run again with --debug to see where it is"
# What to do when the operating system refuses; the store is as it was in all these cases.
_FULL = "make room and run the same command again; the store is as it was"
_DENIED = "you need the right to do that, or another place, for example another --store"
_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "the limit of file sizes (ulimit -f) is in the way",
    errno.EMFILE: "the limit of open files (ulimit -n) is in the way",
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _DENIED,
    errno.ENOTDIR: "a file is in the way of a folder",
}


@dataclass(frozen=True, slots=True)
class Shell:
    """One invocation: which store, how to answer, how much to say."""

    store: str
    json: bool
    quiet: bool
    debug: bool

    def answer(self, data: Any, text: str) -> None:
        """Write the answer of the command: one JSON document, or text for people."""
        document = json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) if self.json else text
        try:
            sys.stdout.write(printable(document.rstrip("\n")) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def say(self, message: str) -> None:
        """Write a remark, unless `--quiet`."""
        if not self.quiet:
            sys.stderr.write(printable(redacted(message)) + "\n")

    def location(self) -> str | Path:
        """Return the store as a folder of this machine, or as a URL without credentials.

        Raises
        ------
        InputError : the URL carries credentials
        """
        location = checked(self.store)
        return location if is_url(location) else Path(location)

    def folder(self) -> Path:
        """Return the store as a folder of this machine, for commands that write into it.

        Raises
        ------
        InputError : the store is a URL
        """
        location = self.location()
        if not isinstance(location, Path):
            raise InputError(f"--store: found {location}, expected a folder; this command keeps results in the store")
        return location

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """Give a function `(label, done, total)` that moves one bar per label; silent where nobody looks."""
        from cgstore.kernels.compilation import told

        with told(lambda: self.say("compiling for this machine, once: a quarter of a minute")), self._bars() as move:
            yield move

    @contextlib.contextmanager
    def _bars(self) -> Iterator[Progress]:
        """Give what moves the bars."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda label, done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bars(*columns, console=Console(stderr=True)) as bars:
            tasks: dict[str, Any] = {}

            def move(label: str, done: int, total: int) -> None:
                if label not in tasks:
                    tasks[label] = bars.add_task(label, total=total)
                bars.update(tasks[label], completed=done, total=total)

            yield move


_SHARED = {
    "store": Annotated[
        str, typer.Option(envvar="CGSTORE_STORE", help="Folder or URL of the store.", metavar="DIR|URL")
    ],
    "as_json": Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")],
    "quiet": Annotated[bool, typer.Option("--quiet", help="No progress and no remarks.")],
    "debug": Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")],
}
_DEFAULTS: dict[str, Any] = {"store": "store", "as_json": False, "quiet": False, "debug": False}


def command(app: typer.Typer, panel: str) -> Callable[[Callable[..., int | None]], Callable[..., int]]:
    """Make a function `(shell, …) -> exit code or None` a command with the shared options; a decorator."""

    def register(function: Callable[..., int | None]) -> Callable[..., int]:
        own = list(inspect.signature(function).parameters.values())[1:]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[name], annotation=annotation)
            for name, annotation in _SHARED.items()
        ]

        @functools.wraps(function)
        def run(**values: Any) -> int:
            store, as_json, quiet, debug = (values.pop(name) for name in _SHARED)
            shell = Shell(store, as_json, quiet, debug)
            return _guard(lambda: function(shell, **values), shell)

        # typer reads the options from the signature and the hints.
        keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        run.__signature__ = inspect.Signature([*keyword_only, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
        app.command(rich_help_panel=panel)(run)
        return run

    return register


def complain(message: str) -> None:
    """Write an error message."""
    sys.stderr.write(f"cgstore: {printable(redacted(message))}\n")


def align(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows of text in columns.

    >>> print(align([["name", "frames"], ["methane_112k/r1/cg", "401"]]))
    name                frames
    methane_112k/r1/cg  401
    """
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def size(count: int) -> str:
    """Show a number of bytes to people.

    >>> size(5_560_000), size(3_200), size(0), size(1_183_380_000)
    ('5.56 MB', '3.2 kB', '0.0 kB', '1.18 GB')
    """
    if count < 100_000:
        return f"{count / 1e3:.1f} kB"
    return f"{count / 1e6:.2f} MB" if count < 1_000_000_000 else f"{count / 1e9:.2f} GB"


def _guard(call: Callable[[], int | None], shell: Shell) -> int:
    """Run a command; what it raises becomes one message and an exit code."""
    try:
        checked(shell.store)
        with _log_to_stderr(shell):
            return call() or 0
    except KeyboardInterrupt:
        complain("interrupted; what was published stays, the same command goes on from there")
        return INTERRUPTED
    except Exception as error:
        if shell.debug:
            sys.stderr.write(printable(redacted(traceback.format_exc())))
        complain(_said(error))
        return error.exit_code if isinstance(error, CgstoreError) else 1


def _said(error: Exception) -> str:
    """Return the one message about an error."""
    if isinstance(error, CgstoreError):
        return str(error)
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}; {_BUG}"
    if not error.strerror:
        return str(error)
    place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    advice = f"; {_ADVICE[error.errno]}" if error.errno in _ADVICE else ""
    return f"{place}{error.strerror[:1].lower()}{error.strerror[1:]}{advice}"


class _Formatter(logging.Formatter):
    """Log lines without secrets and without what steers a terminal; logging is extended by inheritance."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(redacted(super().format(record)))


@contextlib.contextmanager
def _log_to_stderr(shell: Shell) -> Iterator[None]:
    """Let the warnings of cgstore be read while a command runs."""
    logger = logging.getLogger("cgstore")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("cgstore: %(levelname)s: %(message)s"))
    handler.setLevel(logging.DEBUG if shell.debug else logging.ERROR if shell.quiet else logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _plain(value: Any) -> Any:
    """Turn paths, NumPy numbers and arrays into plain data; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)
