"""Scheduling: the systems of a campaign on the cores of this machine or on a Dask cluster, in any order.

Processes live for the whole campaign and take one system after the other, so that engines are loaded once. A system is
one task: it takes seconds, and what is finished is in the archive whatever happens to the others.
"""

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

from cgstore.campaigns.campaign import Campaign
from cgstore.campaigns.planning import Planned
from cgstore.campaigns.running import Record, run_system
from cgstore.clusters import client_of
from cgstore.errors import CgstoreError

__all__ = ["run_systems"]

_TERMINATED = 128 + signal.SIGTERM  # the exit code by which shells know it
_GRACE = 2.0  # s to end the engine that is running; one inside this process may not listen


def run_systems(
    items: Sequence[Planned],
    campaign: Campaign,
    archive: Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    again: bool = False,
) -> Generator[Record, None, None]:
    """Run systems and yield their records as they are finished; closed, it stops those that run.

    Parameters
    ----------
    jobs : processes of this machine; with one the systems run in this process
    scheduler : address of a Dask scheduler whose workers see the same archive; `jobs` is of no concern then
    again : replace what is there

    Raises
    ------
    InputError : no scheduler answers
    MissingExtra : an engine, or distributed, is not installed
    CgstoreError : a process was killed
    """
    work = partial(run_system, campaign=campaign, archive=archive.absolute(), again=again)
    if scheduler and items:
        yield from _on_cluster(work, items, scheduler)
    elif jobs == 1 or len(items) < 2:
        yield from map(work, items)
    else:
        yield from _in_processes(work, items, min(jobs, len(items)))


def _in_processes(work: Any, items: Sequence[Planned], jobs: int) -> Iterator[Record]:
    """Run systems in processes of this machine; whoever stops listening stops those that have not begun."""
    # Started afresh: engines have threads, which a fork would lose.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())  # of whoever called, such as the workers of a cluster
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_be_stoppable) as pool:
        waiting = iter(items)
        # No more at a time than there are processes: what a pool has taken it does not give back when it is stopped.
        running = {pool.submit(work, item) for item in itertools.islice(waiting, jobs)}
        try:
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= {pool.submit(work, item) for item in itertools.islice(waiting, len(done))}
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            raise CgstoreError(
                "a process of the campaign was killed, perhaps for want of memory; what is finished stays, the same "
                "command goes on, with a smaller --jobs if need be"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others if running else ():
                process.terminate()


def _be_stoppable() -> None:
    """End this process when it is told to, or when the one that started it is dead; engines it has started end too."""
    parent = multiprocessing.parent_process()
    # An exception, so that `subprocess.run` kills its program on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))

    def watch() -> None:
        if parent is not None:
            parent.join()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(_GRACE)
            os._exit(_TERMINATED)  # what is half finished is a stage without a lock, which the next run sweeps

    threading.Thread(target=watch, name="cgstore-parent", daemon=True).start()


def _on_cluster(work: Any, items: Sequence[Planned], scheduler: str) -> Iterator[Record]:
    """Run each system as one task of a Dask cluster."""
    with client_of(scheduler) as client:
        from distributed import as_completed

        futures = [client.submit(work, item, pure=False) for item in items]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            client.cancel(futures)
