"""Simulations of molecules are judged: sound ones by means with errors, others by a word and a reason."""

import numpy as np
import pytest

from cgstore.campaigns.judging import judge
from cgstore.engines.conditions import Conditions, Motion

CONDITIONS = Conditions(temperature=300.0, pressure=1.0)
FRAMES = 400


def motion(**changes: np.ndarray) -> Motion:
    """Return correlated series as of a liquid of some hundred molecules, a frame every 2 ps."""
    random = np.random.default_rng(3)

    def noise(mean: float, deviation: float) -> np.ndarray:
        white = random.normal(size=FRAMES + 20)
        return mean + deviation * np.convolve(white, np.ones(5) / 5**0.5, "valid")[:FRAMES]

    series = {
        "energy": noise(-9000, 60),
        "temperature": noise(300, 6),
        "pressure": noise(1, 400),
        "density": noise(997, 5),
    }
    return Motion(time=2.0 * np.arange(FRAMES), series=series | changes, engine="GROMACS 2022.5")


def test_a_sound_run_has_means_with_errors() -> None:
    measured, discard, failure = judge(motion(), CONDITIONS)
    assert (failure, discard, measured["unsettled_frames"]) == ("", 0.0, 0)
    for name, mean, deviation in (("density", 997, 5), ("kinetic_temperature", 300, 6), ("pressure", 1, 400)):
        error = deviation * (5 / FRAMES) ** 0.5  # five frames are worth one
        assert abs(measured[name] - mean) < 4 * error
        assert 0.5 * error < measured[f"{name}_error"] < 2 * error


def test_a_start_that_is_not_settled_is_left_out() -> None:
    falling = motion().series["density"] + 80 * np.exp(-np.arange(FRAMES) / 12)
    measured, discard, failure = judge(motion(density=falling), CONDITIONS)
    assert failure == ""
    assert 20 < discard < 200
    assert discard == 2 * measured["unsettled_frames"]
    assert abs(measured["density"] - 997) < 4


@pytest.mark.parametrize("name", ["density", "energy"])
def test_what_drifts_over_the_run_is_named(name: str) -> None:
    series = motion().series[name]
    drifting = series + np.linspace(0, 6 * series.std(), FRAMES)
    _, _, failure = judge(motion(**{name: drifting}), CONDITIONS)
    assert failure.startswith("drifting: the ")
    assert name in failure


def test_the_area_counts_when_it_is_asked_for() -> None:
    growing = motion(area=30 + np.linspace(0, 3, FRAMES) + motion().series["density"] / 50)
    assert judge(growing, CONDITIONS)[2] == ""
    assert "area" in judge(growing, CONDITIONS, settled=("energy", "density", "area"))[2]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["energy", "temperature", "pressure", "density"])
def test_what_is_not_finite_has_exploded(name: str, value: float) -> None:
    series = motion().series[name].copy()
    series[7] = value
    assert judge(motion(**{name: series}), CONDITIONS) == (
        {},
        0.0,
        "exploded: a measured value is not finite at 14 ps",
    )


@pytest.mark.parametrize(("kelvin", "sound"), [(303, True), (311, True), (330, False), (150, False), (9000, False)])
def test_another_temperature_has_exploded(kelvin: float, sound: bool) -> None:
    series = motion().series["temperature"] * kelvin / 300
    failure = judge(motion(temperature=series), CONDITIONS)[2]
    assert (failure == "") == sound
    assert sound or failure.startswith(f"exploded: the mean temperature is {series.mean():.1f} K, 300 K")


def test_a_wild_temperature_does_not_excuse_itself() -> None:
    wild = np.where(np.arange(FRAMES) % 7, 250.0, 1500.0)
    assert judge(motion(temperature=wild), CONDITIONS)[2].startswith("exploded")


def test_few_particles_may_be_off_by_chance() -> None:
    few = 300 + 60 * np.random.default_rng(5).normal(size=FRAMES) + 18
    assert judge(motion(temperature=few), CONDITIONS)[2] == ""


def test_constant_volume_is_no_drift() -> None:
    assert judge(motion(density=np.full(FRAMES, 997.0)), CONDITIONS)[2] == ""
