"""From g(r) to σ and ε: every number of docs/liquid-state.md.

    python benchmarks/liquid_state.py errors   STORE          held-out systems and regions, scalings, baselines
    python benchmarks/liquid_state.py coverage STORE          intervals, every system held out once
    python benchmarks/liquid_state.py sizes    STORE          the learning curve
    python benchmarks/liquid_state.py short    STORE          g(r) of eight frames
    python benchmarks/liquid_state.py denoise  STORE          snapshots to means
    python benchmarks/liquid_state.py transfer LIQUIDS        CO, F2 and CH4, against IBI, relative entropy and simplex

STORE has the table `lennard_jones`; LIQUIDS the datasets of the campaign simple_liquids. Each writes STAGE.json into
`--out`. Times are of the processor, one thread.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from liquid_transfer import transfer

from cgstore.catalog import open_catalog
from cgstore.documents import load_document
from cgstore.feature_tables import open_table
from cgstore.learn.liquid.denoiser import snapshots_of_table, train_denoiser
from cgstore.learn.liquid.family import closest, family_of
from cgstore.learn.liquid.features import Curves, seen
from cgstore.learn.liquid.fit import ensemble_of, fit_model
from cgstore.learn.liquid.range import components_of
from cgstore.learn.liquid.rows import Rows, rows_of_table
from cgstore.learn.liquid.settings import LiquidFit
from cgstore.learn.liquid.training import batches_of, train_model
from cgstore.learn.liquid.validation import CHECKED, score
from cgstore.splits.split import Split, members_of

ROOT = Path(__file__).parents[1]
SPLITS = {"between": "lennard_jones", "hotter": "lennard_jones_hot", "denser": "lennard_jones_dense"}
FOLDS = 5


class Data:
    """The table, the catalog and the fit."""

    def __init__(self, store):
        self.catalog, self.table = open_catalog(store), open_table(store, "lennard_jones").load()
        known = {str(name) for name in self.table.system.values}
        self.catalog = {name: self.catalog[name] for name in self.catalog if name in known}
        self.file = load_document(ROOT / "catalogs/fits/lennard_jones.toml", LiquidFit)

    def split(self, name):
        return Split.load(ROOT / f"catalogs/splits/{SPLITS[name]}.toml")

    def rows(self, part):
        return rows_of_table(self.table, [member.name for member in members_of(part, self.catalog)])

    def everything(self):
        parts = self.split("between").parts()
        return rows_of_table(self.table, sorted(m.name for part in parts for m in members_of(part, self.catalog)))


def errors(data, out):
    """Mean relative errors on held-out systems of three splits, by scaling, and of baselines."""
    lines = []
    for name in SPLITS:
        split = data.split(name)
        train, held = data.rows(split.train), data.rows(split.heldout)
        for scaling in ("contact", "density", "plain"):
            file = data.file.model_copy(update={"model": data.file.model.model_copy(update={"scaling": scaling})})
            start = time.process_time()
            model = fit_model(file, split, data.catalog, data.table, about={})
            spent = time.process_time() - start
            found, outside, scored = score(model, held, [""] * len(held))
            lines.append({"split": name, "method": f"network, {scaling}", "train": len(train), "seconds": spent,
                          **_line(found), "outside": outside})  # fmt: skip
            if name == "between" and scaling == "contact":
                Path(out / "parity.json").write_text(json.dumps(scored))
            print(lines[-1], flush=True)
        others = {"first peak": first_peak, "ridge": ridge, "Gaussian process": gaussian_process, "closest": nearest}
        for method, fit in others.items():
            start = time.process_time()
            answer = fit(train)(held)
            spent = time.process_time() - start
            lines.append(
                {"split": name, "method": method, "train": len(train), "seconds": spent, **_simple(answer, held)}
            )
            print(lines[-1], flush=True)
    return lines


def coverage(data, out):
    """Coverage of intervals with every system held out once: five models, each calibrated on systems of its own."""
    rows = data.everything()
    order = np.random.default_rng(1).permutation(len(rows))
    folds = np.array_split(order, FOLDS)
    ensemble, inside, deviations = ensemble_of(data.file), [], []
    for k in range(FOLDS):
        held, watched = rows.take(folds[k]), rows.take(folds[(k + 1) % FOLDS])
        train = rows.take(np.concatenate([folds[(k + j) % FOLDS] for j in range(2, FOLDS)]))
        order_of = batches_of(len(train), ensemble.batch_size, k)
        model = train_model(order_of, train, watched, ensemble, seed=k, about={})
        answers = model.predict(held.curves)
        raw = np.stack([np.log(answers.sigma), np.log(answers.epsilon)], 1) - np.log(held.truth)
        deviations.append(raw / answers.relative_error)
        ends = [answers.interval(level, model.quantiles) for level in CHECKED]
        inside.append(np.stack([(e[..., 0] <= held.truth) & (held.truth <= e[..., 1]) for e in ends]))
        print(k, inside[-1].mean(axis=1).round(3).tolist(), flush=True)
    found, z = np.concatenate(inside, axis=1).mean(axis=1), np.abs(np.concatenate(deviations))
    gauss = [0.6745, 1.0, 1.2816, 1.6449, 1.96]
    raw = [(z <= width).mean(axis=0).tolist() for width in gauss]
    return {"levels": CHECKED, "systems": len(rows), "coverage": found.tolist(), "uncalibrated": raw}


def sizes(data, out):
    """Errors on the held-out systems against the number of training systems, several draws of each."""
    split = data.split("between")
    train, watched, held = (data.rows(part) for part in split.parts())
    ensemble, lines = ensemble_of(data.file), []
    most = len(train)
    for count in [n for n in (40, 80, 160, 320, 640) if n < most] + [most]:
        for draw in range(1 if count == most else 2):
            chosen = np.random.default_rng([count, draw]).permutation(most)[:count]
            # As many steps for all of them.
            epochs = max(1, round(ensemble.epochs * most / count)) if count < most else ensemble.epochs
            small = replace(ensemble, epochs=min(epochs, 6 * ensemble.epochs))
            part = train.take(chosen)
            model = train_model(batches_of(count, 64, draw), part, watched, small, seed=draw, about={})
            answers = model.predict(held.curves)
            known = np.stack([answers.relative_error, answers.disagreement])
            own = np.sqrt(2 / np.pi) * np.sqrt(np.maximum(known[0] ** 2 - known[1] ** 2, 0)).mean(axis=0)
            found, _, _ = score(model, held, [""] * len(held))
            lines.append({"train": count, "draw": draw, **_line(found), "noise": own.tolist()})
            print(lines[-1], flush=True)
    return lines


def short(data, out):
    """Errors with g(r) of eight frames, in place of the whole run."""
    split = data.split("between")
    model = fit_model(data.file, split, data.catalog, data.table, about={})
    held = data.rows(split.heldout)
    names = [member.name for member in members_of(split.heldout, data.catalog)]
    few = snapshots_of_table(data.table, names)
    frames = float(data.table.attrs.get("frames", 160))
    c = held.curves
    g = few.noisy.mean(axis=1)
    error = c.error * np.sqrt(frames / few.noisy.shape[1])
    brief = Rows(Curves(c.r, g, error, c.temperature, c.density), held.truth)
    lines = {}
    for name, rows in (("whole run", held), ("eight frames", brief)):
        found, outside, _ = score(model, rows, names)
        lines[name] = {**_line(found), "outside": outside}
        print(name, lines[name], flush=True)
    quiet = data.file.model_copy(update={"training": data.file.training.model_copy(update={"noise": 0.0})})
    found, outside, _ = score(fit_model(quiet, split, data.catalog, data.table, about={}), brief, names)
    lines["eight frames, trained without noise"] = {**_line(found), "outside": outside}
    print(lines["eight frames, trained without noise"])
    return lines


def denoise(data, out):
    """Mean absolute deviations of g of single frames, raw, smoothed, projected and denoised."""
    split = data.split("between")
    parts = {part.part: [member.name for member in members_of(part, data.catalog)] for part in split.parts()}
    train, held = (snapshots_of_table(data.table, parts[name]) for name in ("train", "heldout"))
    start = time.process_time()
    learned = train_denoiser(train, seed=1)
    spent = time.process_time() - start
    each = held.noisy.shape[1]
    noisy = held.noisy.reshape(-1, held.noisy.shape[-1])
    state, mean = np.repeat(held.state, each, axis=0), np.repeat(held.mean, each, axis=0)
    clean, error = learned.apply(noisy, state)
    rows = rows_of_table(data.table, parts["heldout"])
    floor = np.repeat(np.abs(rows.curves.error).mean(axis=1) * np.sqrt(2 / np.pi), each)
    middle, directions = components_of(train.mean, 24)
    answers = {"snapshot": noisy, "projected on 24 components": middle + (noisy - middle) @ directions.T @ directions,
               "denoised": clean}  # fmt: skip
    for width in (3, 7):
        kernel = np.exp(-0.5 * (np.arange(-3 * width, 3 * width + 1) / width) ** 2)
        smooth = np.apply_along_axis(lambda g, k=kernel: np.convolve(g, k / k.sum(), "same"), 1, noisy)
        answers[f"smoothed, {width * 0.005:g} nm"] = smooth
    density = np.exp(state[:, 1])
    near = (density > 7.0) & (np.exp(state[:, 0]) < 300.0)
    result = {"seconds": spent, "train": len(train.mean), "systems": len(held.mean), "near": int(near.sum() // each)}
    for name, g in answers.items():
        mae = np.abs(g - mean).mean(axis=1)
        bootstrap = mae.reshape(-1, each).mean(axis=1)
        dense = mae[near].reshape(-1, each).mean(axis=1)
        result[name] = {"all": [bootstrap.mean(), bootstrap.std(ddof=1) / len(bootstrap) ** 0.5],
                        "near": [dense.mean(), dense.std(ddof=1) / len(dense) ** 0.5]}  # fmt: skip
        print(name, result[name], flush=True)
    result["noise of the means"] = {"all": [floor.mean()], "near": [floor[near].mean()]}
    z = (clean - mean) / np.hypot(error, np.repeat(rows.curves.error, each, axis=0))
    result["z"] = float(np.sqrt(np.nanmean(z[mean > 0.1] ** 2)))
    return result


def first_peak(train):
    """Quadratic regression on position and height of the first maximum, and the density."""

    def look(rows):
        c = rows.curves
        kernel = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0
        smooth = np.apply_along_axis(lambda g: np.convolve(g, kernel, "same"), 1, c.g)
        top = smooth[:, :200].argmax(axis=1)
        height = smooth[np.arange(len(c)), top]
        x = np.stack([np.log(c.r[top] ** 3 * c.density), np.log(height)], 1)
        terms = [np.ones(len(x)), x[:, 0], x[:, 1], x[:, 0] ** 2, x[:, 1] ** 2, x[:, 0] * x[:, 1]]
        return np.stack(terms, 1), np.stack([c.r[top], 0.00831446 * c.temperature], 1)

    return _linear(look, train, 1e-6)


def ridge(train):
    """Ridge regression on all that the network sees of g, without its products."""

    def look(rows):
        sight = seen(rows.curves, "contact")
        x = np.concatenate([np.ones((len(rows), 1)), sight.curve, sight.state], axis=1)
        return x, np.stack([sight.length, sight.energy], 1)

    return _linear(look, train, 0.3)


def nearest(train):
    """The fluid of the family with the nearest g."""
    family = family_of(train)
    return lambda rows: np.array([[one.sigma, one.epsilon] for one in closest(family, rows.curves)])


def gaussian_process(train):
    """A Gaussian process on the principal components; length and noise by the largest marginal likelihood."""
    mean, directions = components_of(seen(train.curves, "contact").curve, 8)

    def look(rows):
        sight = seen(rows.curves, "contact")
        x = np.concatenate([(sight.curve - mean) @ directions.T, sight.state[:, :1]], axis=1)
        return x, np.stack([sight.length, sight.energy], 1)

    x, unit = look(train)
    y = np.log(train.truth / unit)
    middle, width, centre = x.mean(axis=0), x.std(axis=0), y.mean(axis=0)
    # Components are weighed by their share of what g varies by, at least a tenth.
    weight = np.maximum(width / width.max(), 0.1) / width
    x = (x - middle) * weight
    best = []
    for column in range(2):
        target, tried = y[:, column] - centre[column], []
        for scale in (0.5, 1.0, 2.0, 4.0):
            kernel = np.exp(-0.5 * _distances(x, x) / scale**2) * target.var() * 10.0
            for noise in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1):
                factor = np.linalg.cholesky(kernel + noise * target.var() * np.eye(len(x)))
                alpha = np.linalg.solve(factor.T, np.linalg.solve(factor, target))
                tried.append((-0.5 * target @ alpha - np.log(np.diag(factor)).sum(), scale, alpha))
        best.append((*max(tried, key=lambda one: one[0])[1:], target.var() * 10.0))

    def answer(rows):
        new, own = look(rows)
        new = (new - middle) * weight
        d = _distances(new, x)
        logs = [np.exp(-0.5 * d / scale**2) @ alpha * size for scale, alpha, size in best]
        return own * np.exp(np.stack(logs, 1) + centre)

    return answer


def _distances(a, b):
    """Squared distances between rows."""
    return np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2.0 * a @ b.T, 0.0)


def _linear(look, train, strength):
    """Fit ln of σ and ε in units of the liquid linearly."""
    x, unit = look(train)
    y = np.log(train.truth / unit)
    coefficients = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y)
    return lambda rows: (lambda new, own: own * np.exp(new @ coefficients))(*look(rows))


def _simple(answer, held):
    """Mean relative errors of answers (row, 2)."""
    off = np.abs(answer / held.truth - 1.0)
    error = off.std(axis=0, ddof=1) / len(off) ** 0.5
    names = ("sigma", "epsilon")
    return {"systems": len(off)} | {name: [float(off[:, n].mean()), float(error[n])] for n, name in enumerate(names)}


def _line(found):
    """Mean relative errors and coverage."""
    line = {"systems": found[0].systems}
    for row in found:
        line |= {row.parameter: [row.mape, row.mape_error], f"{row.parameter}_median": row.median,
                 f"{row.parameter}_coverage": row.coverage}  # fmt: skip
    return line


STAGES = {"errors": errors, "coverage": coverage, "sizes": sizes, "short": short, "denoise": denoise}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=[*STAGES, "transfer"])
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/liquid_state"))
    parser.add_argument("--iterations", type=int, default=8, help="of IBI")
    parser.add_argument("--only", default="simple_liquids", help="names of datasets that begin so, for transfer")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    start = time.process_time()
    if asked.stage == "transfer":
        result = transfer(asked.store, asked.iterations, asked.only)
    else:
        result = STAGES[asked.stage](Data(asked.store), asked.out)
    answer = {"seconds": time.process_time() - start, "result": result}
    suffix = f"-{asked.only}" if asked.stage == "transfer" else ""
    (asked.out / f"{asked.stage}{suffix}.json").write_text(json.dumps(answer, indent=1))
    print(f"{answer['seconds']:.0f} s of processor")


if __name__ == "__main__":
    main()
