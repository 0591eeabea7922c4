"""How often mean ± error covers the truth: repeated synthetic runs whose mean is known, as a table in Markdown.

python benchmarks/calibration.py                2 000 runs a row, about three minutes
python benchmarks/calibration.py --runs 300     quicker
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from cgstore.averages.blocks import block_length
from cgstore.averages.estimates import mean_and_error

Float = NDArray[np.float64]
RUNS, SEED = 2000, 1


@dataclass(frozen=True, slots=True)
class Runs:
    """Repeated runs of one process: values, weights, and the mean they would have if they were endless."""

    words: str
    frames: int
    value: Float  # (run, frame, bin)
    truth: Float  # (bin,)
    weight: Float | None = None  # (run, frame)
    promised: bool = True  # whether 68 ± 5 % are claimed of it


@dataclass(frozen=True, slots=True)
class Covered:
    """What was found for the runs of a process."""

    words: str
    frames: int
    coverage: float  # % of the errors that are known
    unknown: float  # % of the bins that were hit
    ratio: float  # root mean square of the errors over the standard deviation of the means
    promised: bool


def correlated(random: np.random.Generator, runs: int, frames: int, time: float) -> Float:
    """Return (run, frame) of variance one whose correlation falls as exp(−t / time); stationary from the start."""
    noise = random.normal(size=(runs, frames))
    phi = np.exp(-1.0 / time) if time > 0 else 0.0
    noise[:, 1:] *= np.sqrt(1.0 - phi**2)
    return np.asarray(lfilter([1.0], [1.0, -phi], noise, axis=1))


def cover(runs: Runs) -> Covered:
    """Put frames into blocks as the store does, estimate every run on its own, and compare with the truth."""
    starts = np.arange(0, runs.frames, block_length(runs.frames))
    weight = np.ones(runs.value.shape[:2]) if runs.weight is None else runs.weight
    sums = np.add.reduceat(runs.value * weight[:, :, None], starts, axis=1)
    heavy = np.add.reduceat(weight, starts, axis=1)
    estimates = [mean_and_error(one[None], of) for one, of in zip(sums, heavy, strict=True)]
    mean, error = (np.concatenate([found[at] for found in estimates]) for at in (0, 1))  # (run, bin)
    known, hit = error > 0, sums.any(axis=1)
    inside = np.abs(mean - runs.truth) <= error
    return Covered(
        runs.words,
        runs.frames,
        100.0 * float(inside[known].mean()),
        100.0 * float(1.0 - known[hit].mean()),
        float(np.sqrt((error[known] ** 2).mean() / ((mean - runs.truth)[hit] ** 2).mean())),
        runs.promised,
    )


def single(random: np.random.Generator, runs: int) -> Iterator[Runs]:
    """Series with one correlation time."""
    for frames in (100, 201, 1000, 5000):
        block = block_length(frames)
        times = {"0.1 block": 0.1 * block, "1 block": block, "run/100": frames / 100, "run/50": frames / 50}
        times |= {"run/20": frames / 20, "run/10": frames / 10}
        for words, time in times.items():
            value = 10.0 + correlated(random, runs, frames, time)[:, :, None]
            yield Runs(f"correlation time {words}", frames, value, np.array([10.0]), promised=words != "run/10")


def double(random: np.random.Generator, runs: int) -> Iterator[Runs]:
    """Series with two, the slow one hidden below the fast one."""
    for frames in (201, 2000):
        for part, time in ((0.2, 40), (0.05, 40), (0.02, 40), (0.2, 20)):
            fast, slow = (correlated(random, runs, frames, t) for t in (0.5, frames / time))
            value = 10.0 + np.sqrt(1.0 - part) * fast + np.sqrt(part) * slow
            words = f"{100 * part:.0f} % of the variance run/{time}, the rest half a frame"
            yield Runs(words, frames, value[:, :, None], np.array([10.0]), promised=False)


def histograms(random: np.random.Generator, runs: int) -> Iterator[Runs]:
    """Poisson counts; bins of equal rate, of which a slow motion lifts some and lowers others."""
    for frames in (201, 2000):
        for hits, words in ((3, "3 hits"), (10, "10 hits"), (30, "30 hits"), (2 * frames, "2 hits a frame")):
            for time in (100, 30):
                slow = correlated(random, runs // 2, frames, frames / time)[:, :, None]
                swing = np.array([0.0, 0.2, -0.2, 0.4])
                rate = hits / frames * np.exp(swing * slow - 0.5 * swing**2)
                value = random.poisson(rate).astype(float)
                label = f"histogram, {words} in a bin, run/{time}"
                yield Runs(label, frames, value, np.full(4, hits / frames), promised=hits >= 10)


def weighted(random: np.random.Generator, runs: int) -> Iterator[Runs]:
    """Values that their weights depend on, so that the weights move the mean, as reweighting does."""
    for frames in (201, 2000):
        for spread in (0.5, 1.1, 1.5):
            for time in (0, 50):
                first, second = (correlated(random, runs, frames, frames / time if time else 0) for _ in range(2))
                effective = np.exp(-(spread**2)) * frames / (2 * frames / time if time else 1)
                yield Runs(
                    f"weights, {effective:.0f} effective frames of {frames / (2 * frames / time if time else 1):.0f}",
                    frames,
                    10.0 + np.sqrt(0.5) * (first + second)[:, :, None],
                    np.array([10.0 + np.sqrt(0.5) * spread]),
                    np.exp(spread * first),
                    promised=effective > 30,
                )


def heavy(random: np.random.Generator, runs: int) -> Iterator[Runs]:
    """Values with heavy tails."""
    for frames in (201, 2000):
        tails = 10.0 + random.standard_t(3, size=(runs, frames, 1))
        yield Runs("Student's t with 3 degrees of freedom", frames, tails, np.array([10.0]))
        lognormal = np.exp(correlated(random, runs, frames, frames / 100))[:, :, None]
        yield Runs("log-normal, run/100", frames, lognormal, np.array([np.exp(0.5)]))


def table(runs: int = RUNS, seed: int = SEED) -> Iterator[Covered]:
    """Yield every row."""
    for number, make in enumerate((single, double, histograms, weighted, heavy)):
        yield from map(cover, make(np.random.default_rng([seed, number]), runs))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=RUNS)
    runs = parser.parse_args().runs
    print("| frames | runs with | covered % | unknown % | error / deviation |\n|--:|---|--:|--:|--:|")
    for row in table(runs):
        cells = (f"{row.coverage:.1f}", f"{row.unknown:.1f}", f"{row.ratio:.2f}")
        print(f"| {row.frames} | {row.words} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
