"""Commands on splits: what the parts are, whether they leak, and the lock that pins them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cgstore.cli.shell import Shell, align, command

if TYPE_CHECKING:
    from cgstore.splits.freezing import Pinned
    from cgstore.splits.leakage import Leak, Report
    from cgstore.splits.split import Split

__all__ = ["app"]

app = typer.Typer()
_PANEL = "Splits"
_LEAKS = 1
_MOST_WARNINGS = 20

File = Annotated[Path, typer.Argument(help="A split.", metavar="SPLIT.toml")]


@command(app, _PANEL)
def show(shell: Shell, file: File) -> None:
    """List the datasets of each part, with their frames, times, composition and digest."""
    from cgstore.catalog import open_catalog, plain_text
    from cgstore.splits.freezing import pin
    from cgstore.splits.split import Split, members_of_parts

    split, catalog = Split.load(file), open_catalog(shell.location())
    rows, lines = (
        [],
        [["part", "dataset", "frames", "from (ps)", "to (ps)", "version", "T (K)", "composition", "digest"]],
    )
    for part, members in members_of_parts(split, catalog).items():
        for item in pin(members, catalog):
            row = _row(part, item, catalog[item.member.name].metadata)
            rows.append(row)
            ends = [plain_text(row[end]) or "-" for end in ("first", "last")]
            state = [plain_text(row[key]) or "-" for key in ("temperature", "composition")]
            lines.append([part, row["name"], str(row["frames"]), *ends, str(row["version"]), *state, item.digest[:12]])
    shell.answer({**_head(split), "members": rows}, f"{_title(split)}\n{align(lines)}")


@command(app, _PANEL)
def check(
    shell: Shell,
    file: File,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read positions too, to find copies in another precision.")
    ] = False,
) -> int:
    """Look for leaks between the parts; exit code 1 when there are any."""
    from cgstore.catalog import open_catalog
    from cgstore.splits.split import Split, find_leaks

    split = Split.load(file)
    with shell.progress():
        report = find_leaks(split, open_catalog(shell.location()), deep=deep)
    data = {
        **_head(split),
        "deep": deep,
        "leaks": [_plain(leak) for leak in report.leaks],
        "warnings": [_plain(leak) for leak in report.warnings],
    }
    shell.answer(data, _verdict(split, report, deep))
    return _LEAKS if report.leaks else 0


@command(app, _PANEL)
def freeze(
    shell: Shell,
    file: File,
    again: Annotated[bool, typer.Option("--again", help="Replace a lock that says something else.")] = False,
) -> None:
    """Pin what a split means, and its datasets with their digests, in a lock beside the file."""
    from cgstore.catalog import open_catalog
    from cgstore.splits.freezing import lock_path
    from cgstore.splits.split import freeze

    split, written = freeze(file, open_catalog(shell.location()), again=again)
    count = sum(len(rows) for rows in split.lock.parts.values()) if split.lock else 0
    data = {**_head(split), "lock": lock_path(file), "written": written, "datasets": count}
    verb = "written" if written else "unchanged"
    many = f"{count} dataset{'' if count == 1 else 's'}"
    shell.answer(data, f"{lock_path(file)}: {verb}, {many} pinned; keep it beside {file.name} in your history")


def _head(split: "Split") -> dict[str, Any]:
    """Return what names a split."""
    return {"split": split.where, "digest": split.digest, "frozen": split.lock.digest if split.lock else None}


def _title(split: "Split") -> str:
    """Return the line about a split."""
    frozen = f"frozen as {split.lock.digest[:12]}" if split.lock else "not frozen"
    return f"{split.where}: digest {split.digest[:12]}, {frozen}"


def _row(part: str, item: "Pinned", metadata: Any) -> dict[str, Any]:
    """Return one member as plain data."""
    return {
        "part": part,
        "name": item.member.name,
        "frames": item.frames,
        "first": item.first,
        "last": item.last,
        "start": item.member.start,
        "stop": item.member.stop,
        "version": item.version,
        "temperature": metadata.get("temperature"),
        "composition": metadata.get("composition"),
        "digest": item.digest,
    }


def _plain(leak: "Leak") -> dict[str, Any]:
    """Return a leak as plain data."""
    return {"kind": leak.kind, "parts": leak.parts, "datasets": leak.datasets, "says": leak.says}


def _verdict(split: "Split", report: "Report", deep: bool) -> str:
    """Return leaks and warnings as lines."""
    lines = [_title(split)]
    lines += [f"  leak: {leak}" for leak in report.leaks]
    lines += [f"  warning: {leak}" for leak in report.warnings[:_MOST_WARNINGS]]
    if (left := len(report.warnings) - _MOST_WARNINGS) > 0:
        lines.append(f"  … and {left} more warnings; --json has them all")
    many = len(report.leaks)
    hint = "" if deep else "; --deep also looks for copies in another precision"
    lines.append(f"{many} leak{'' if many == 1 else 's'} between the parts" if many else f"no leak{hint}")
    return "\n".join(lines)
