"""Eigenvalues of few frames, and a step with noise."""

import numpy as np
import pytest

from cgstore.inverse.eigenvalues import corrected_eigenvalues
from cgstore.inverse.ridge import Parts, newton_step


def correlations(size: int) -> np.ndarray:
    """Return a correlation matrix with a few stiff and a few soft directions."""
    rng = np.random.default_rng(3)
    frame = np.linalg.qr(rng.normal(size=(size, size)))[0]
    value = np.concatenate([[0.02, 0.04, 0.1], np.linspace(0.6, 1.4, size - 5), [2.5, 4.0]])
    matrix = (frame * value) @ frame.T
    scale = np.sqrt(np.diag(matrix))
    return matrix / np.outer(scale, scale)


@pytest.mark.parametrize(("frames", "worst"), [(100, 0.55), (300, 0.35), (3_000, 0.15)])
def test_corrected_eigenvalues_are_those_along_the_eigenvectors(frames: int, worst: float) -> None:
    true = correlations(60)
    root = np.linalg.cholesky(true)
    rng = np.random.default_rng(1)
    before, after = [], []
    for _ in range(10):
        value, mode = np.linalg.eigh(np.cov((rng.normal(size=(frames, 60)) @ root.T).T))
        real = np.einsum("ik,ij,jk->k", mode, true, mode)
        before.append(np.log(value / real))
        after.append(np.log(corrected_eigenvalues(value, frames) / real))
    assert np.abs(np.mean(after, axis=0))[:3].max() < worst
    assert np.sqrt(np.square(after).mean()) < 0.75 * np.sqrt(np.square(before).mean())


def test_fewer_frames_than_modes_give_the_directions_nobody_knows_one_finite_variance() -> None:
    x = np.random.default_rng(2).normal(size=(30, 80))
    value = np.maximum(np.linalg.eigvalsh(np.cov(x.T)), 0.0)
    found = corrected_eigenvalues(value, 30.0)
    assert np.unique(found[:51].round(12)).size == 1
    assert 0.3 < found[0] < 2.0
    assert 0.5 < found.mean() < 2.0


def test_a_step_from_fewer_frames_than_bins_is_no_worse_than_none() -> None:
    true = correlations(60)
    root = np.linalg.cholesky(true)
    rng = np.random.default_rng(7)
    change = rng.normal(0.0, 0.3, 60)
    for frames in (20, 40, 80, 2_000):
        left = []
        for _ in range(10):
            x = rng.normal(size=(frames, 60)) @ root.T
            sample = np.cov(x.T, ddof=0)
            error = np.sqrt(np.diag(sample) / frames)
            step = newton_step(
                sample,
                true @ -change - x.mean(axis=0),
                error,
                effective=frames,
                kT=1.0,
                regularisation="discrepancy",
                largest=2.0,
            )
            rest = change - step.change
            left.append(rest @ true @ rest / (change @ true @ change))  # the relative entropy that is left
        assert np.mean(left) < (1.0 if frames < 80 else 0.9 if frames == 80 else 0.1)


def test_a_ridge_keeps_the_step_small_and_downhill() -> None:
    rng = np.random.default_rng(8)
    root = rng.normal(size=(20, 12))
    covariance = root @ root.T + 1e-6 * np.eye(20)  # eight directions hardly fluctuate
    lack = rng.normal(size=20)
    options = {"effective": 1e6, "kT": 2.5, "regularisation": 0.0}
    wild = newton_step(covariance, lack, None, largest=np.inf, **options)
    tame = newton_step(covariance, lack, None, largest=5.0, **options)
    assert abs(wild.change).max() > 1e4
    assert abs(tame.change).max() <= 5.0 * 1.0001
    assert tame.change @ lack < 0.0  # along minus the gradient
    assert tame.ridge > 0.0


def test_modes_that_remember_long_count_less() -> None:
    """Two groups of quantities; the means of the second one scatter nine times as much as frames say."""
    rng = np.random.default_rng(5)
    size, parts = 40, 8
    wide = np.where(np.arange(size) < 20, 1.0, 3.0)
    covariance = np.diag(np.where(np.arange(size) < 20, 1.0, 1.2))
    chi2 = {True: [], False: []}
    for _ in range(20):
        means = rng.normal(size=(parts, size)) * wide * np.sqrt(np.diag(covariance) / 100.0)
        mean = means.mean(axis=0)
        error = np.sqrt(np.diag(covariance) / 800.0 * 5.4)  # one inefficiency for all
        for known in (True, False):
            step = newton_step(
                covariance,
                -mean,
                error,
                effective=1e9,
                kT=1.0,
                regularisation="discrepancy",
                largest=1.0,
                parts=Parts(means - mean, np.full(parts, 1.0 / parts)) if known else None,
            )
            chi2[known].append(step.chi2)
    assert np.mean(chi2[True]) == pytest.approx(1.0, abs=0.45)
