"""The command that makes archives: campaigns of simulations."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cgstore.cli.shell import Shell, command

__all__ = ["app"]

app = typer.Typer()
_SHOWN = 10  # failures that people see; --json has all


@command(app, "The store")
def simulate(
    shell: Shell,
    campaign: Annotated[Path, typer.Argument(help="A campaign file.", metavar="CAMPAIGN")],
    *,
    size: Annotated[str, typer.Option(help="A size of the file: small, full …", metavar="NAME")] = "small",
    archive: Annotated[Path, typer.Option(help="Folder that gets the simulations.", metavar="DIR")] = Path("archive"),
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; all cores by default.", metavar="N")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.", metavar="ADDRESS")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run again what failed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and compare; run nothing.")] = False,
) -> None:
    """Run the simulations of a campaign that are missing, and ingest what is sound.

    Stopped at any instant, the same command goes on: what is finished is not repeated, what is not leaves nothing.
    """
    from dataclasses import asdict

    from cgstore.campaigns.simulating import simulate

    with shell.progress() as progress:
        done = simulate(
            campaign,
            size=size,
            archive=archive,
            store=shell.location(),
            jobs=jobs,
            scheduler=scheduler,
            retry=retry,
            dry_run=dry_run,
            progress=progress,
        )
    shell.answer({**asdict(done), "dry_run": dry_run}, _described(done, archive, dry_run=dry_run))


def _described(done: Any, archive: Path, *, dry_run: bool) -> str:
    """Say in a few lines what became of the campaign."""
    left = done.planned - done.found - done.run
    lines = [
        f"{done.campaign}, size {done.size}: {done.planned} systems, {done.found} were finished, {done.run} run now"
        + (f", {left} would be run" if dry_run else f" in {done.seconds:.1f} s of all processes")
    ]
    lines += [f"  left out: {point}" for point in done.refused[:_SHOWN]]
    if len(done.refused) > _SHOWN:
        lines.append(f"  and {len(done.refused) - _SHOWN} more left out")
    if not dry_run:
        lines.append(f"{done.ingested} new in the store, {len(done.failed)} failed")
    lines += [f"  {name}: {why}" for name, why in list(done.failed.items())[:_SHOWN]]
    if len(done.failed) > _SHOWN:
        lines.append(f"  and {len(done.failed) - _SHOWN} more; --json has them all")
    if done.failed:
        lines.append(f"records and logs are in {archive}; --retry runs them again")
    return "\n".join(lines)
