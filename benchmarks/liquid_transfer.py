"""From CO, F2 and CH4 to Lennard-Jones beads: in one shot by a network, and by what iterates."""

import time

import numpy as np
from scipy.optimize import minimize

from cgstore.averages.counting import count_blocks
from cgstore.averages.pair import rdf_blocks, rdf_counter, rdf_from_blocks
from cgstore.averages.series import mean_of_series
from cgstore.box import heights
from cgstore.catalog import open_catalog
from cgstore.learn.inversion import invert
from cgstore.learn.liquid.asking import invert_pair
from cgstore.learn.liquid.model import read_model
from cgstore.learn.sampler import sample, starting_frames
from cgstore.learn.settings import Sampling
from cgstore.tables import table_of
from cgstore.units import BOLTZMANN

WIDTH, REACH = 0.02, 1.0  # nm, of the bins that are compared
REPLICAS = 4
TRY = Sampling(time_step=0.01, equilibrate=1.0, duration=4.0, every=0.2, threads=1)  # of the simplex
STEP = Sampling(time_step=0.01, equilibrate=1.0, duration=8.0, every=0.2, threads=1)  # of an iteration
LONG = Sampling(time_step=0.01, equilibrate=2.0, duration=12.0, every=0.2, threads=1)  # of a comparison
BOOTSTRAPS = 200


class Liquid:
    """A dataset of beads with its g(r), and models of it sampled at its state."""

    def __init__(self, entry):
        self.name, self.ds = entry.name, entry.open().load()
        self.temperature = float(entry.metadata["temperature"])
        self.kind = str(self.ds["type"].values[0])
        self.pair = f"{self.kind}-{self.kind}"
        self.reference = rdf_from_blocks(rdf_blocks(self.ds, r_max=REACH, bin_width=WIDTH)).compute()
        self.start = starting_frames(self.ds, REPLICAS)
        self.half = 0.5 * float(heights(self.ds["box"].values).min())
        self.seconds = 0.0

    def table(self, sigma, epsilon):
        cutoff = min(3.0 * sigma, 0.99 * self.half)
        r = np.arange(0.6 * sigma, cutoff + 0.001, 0.002)
        x = (sigma / r) ** 6
        return {self.pair: table_of(r, 4.0 * epsilon * (x**2 - x), cutoff, switch=0.02)}

    def run(self, tables, how, seed=1):
        begin = time.process_time()
        asked = {name: getattr(how, name) for name in how.__dataclass_fields__}
        found = sample(tables, self.start, temperature=self.temperature, seed=seed, **asked)
        self.seconds += time.process_time() - begin
        return found

    def compare(self, tables):
        """Return rmsd, total variation and relative entropy of g, each with its error, from a long run."""
        samples = self.run(tables, LONG, seed=99)
        replica = samples["replica"].values
        each = [
            rdf_from_blocks(rdf_blocks(samples.isel(frame=replica == k), r_max=REACH, bin_width=WIDTH)).compute()
            for k in range(REPLICAS)
        ]
        rows = np.array([one["rdf"].values[0] for one in each])
        return measured(self.reference, rows.mean(axis=0), rows.std(axis=0, ddof=1) / REPLICAS**0.5)


def distances(r, g, reference):
    """Return rmsd of g; total variation ½ Σ |p − p_ref|; KL Σ p_ref ln(p_ref/p); p ∝ r² g of sum one."""
    p, q = (np.maximum(curve, 1e-6) * r**2 for curve in (reference, g))
    p, q = p / p.sum(), q / q.sum()
    return np.array([((g - reference) ** 2).mean() ** 0.5, 0.5 * np.abs(p - q).sum(), (p * np.log(p / q)).sum()])


def measured(reference, g, error):
    """Return the three distances with standard errors by the parametric bootstrap, and what noise alone would give."""
    r, g_ref = reference["r"].values, reference["rdf"].values[0]
    e_ref = np.nan_to_num(reference["rdf_error"].values[0])
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2, BOOTSTRAPS, len(r)))
    tried = [distances(r, g + error * a, g_ref + e_ref * b) for a, b in zip(*noise, strict=True)]
    equal = [distances(r, g_ref + error * a, g_ref + e_ref * b) for a, b in zip(*noise, strict=True)]
    names = ("rmsd", "tv", "kl")
    values = (distances(r, g, g_ref), np.std(tried, axis=0), np.mean(equal, axis=0))
    return {name: [float(a[n]) for a in values] for n, name in enumerate(names)}


def relative_entropy(liquid, sigma, epsilon, iterations=16):
    """Return σ and ε of the least relative entropy, and all on the way: ⟨r⁻¹²⟩ and ⟨r⁻⁶⟩ of the reference.

    U = a r⁻¹² − b r⁻⁶ is linear in a and b; Newton's steps with ∂S/∂λ = β (⟨B⟩_ref − ⟨B⟩), ∂²S/∂λ² = β² cov B, each
    at most 5 % in σ and a factor of two in ε. Shell 2008, doi:10.1063/1.2992060. It ends where both averages are those
    of the reference within two standard errors; σ and ε apart are not known much better then, where ε is small.
    """
    path = [[sigma, epsilon]]
    for step in range(iterations):
        tables = liquid.table(sigma, epsilon)
        cutoff = tables[liquid.pair].cutoff
        wanted = mean_of_series(_sums(liquid.ds, cutoff, sigma).T)
        sums = _sums(liquid.run(tables, STEP, seed=step), cutoff, sigma)
        found = mean_of_series(sums.T)
        if (np.abs(found.mean - wanted.mean) < 2.0 * np.hypot(found.error, wanted.error)).all():
            break
        change = BOLTZMANN * liquid.temperature * np.linalg.solve(np.cov(sums.T), found.mean - wanted.mean)
        for part in 0.5 ** np.arange(12):
            a, b = 4.0 * epsilon + part * change  # U = a (σ/r)¹² − b (σ/r)⁶
            if a > 0.0 and b > 0.0:
                new = sigma * (a / b) ** (1.0 / 6.0), b**2 / (4.0 * a)
                if abs(np.log(new[0] / sigma)) < 0.05 and abs(np.log(new[1] / epsilon)) < np.log(2.0):
                    break
        else:
            break
        sigma, epsilon = (float(value) for value in new)
        path.append([sigma, epsilon])
    return (sigma, epsilon), path


def _sums(ds, cutoff, sigma):
    """Return Σ (σ/r)¹² and −Σ (σ/r)⁶ over the pairs of each frame (frame, 2), from narrow bins."""
    ds = ds.isel(frame=slice(None, None, max(1, ds.sizes["frame"] // 400)))
    counter = rdf_counter(ds, pairs=None, r_max=cutoff, bin_width=0.002, exclude_bonded=0)
    ((blocks,),) = count_blocks(ds, [counter], length=1)
    counts = blocks["count"].transpose("block", "pair", "r").values[:, 0]
    x = (sigma / blocks["r"].values) ** 6
    x[blocks["r"].values < 0.6 * sigma] = 0.0
    return counts @ np.stack([x**2, -x], 1)


def first_peak(liquid):
    """Return where fits begin: the minimum of the potential at the highest peak of g, and kT."""
    r, g = liquid.reference["r"].values, liquid.reference["rdf"].values[0]
    return r[g.argmax()] / 2 ** (1 / 6), BOLTZMANN * liquid.temperature


def simplex(liquid, evaluations=30):
    """Return σ and ε of the least squared deviation of g, by Nelder and Mead; the same random numbers for all."""
    g_ref = liquid.reference["rdf"].values[0]
    count = 0

    def loss(x):
        nonlocal count
        count += 1
        samples = liquid.run(liquid.table(*np.exp(x)), TRY)
        g = rdf_from_blocks(rdf_blocks(samples, r_max=REACH, bin_width=WIDTH)).compute()["rdf"].values[0]
        return float(((g - g_ref) ** 2).mean())

    first = np.log(first_peak(liquid))
    start = first + np.array([[0.0, 0.0], [0.03, 0.0], [0.0, 0.3]])
    asked = {"maxfev": evaluations, "initial_simplex": start, "xatol": 1e-3, "fatol": 1e-6}
    found = minimize(loss, first, method="Nelder-Mead", options=asked)
    return np.exp(found.x), count


def ibi(liquid, iterations, guess=None):
    """Return tables of iterative Boltzmann inversion, and rmsd by iteration."""
    rmsd = []
    begin = time.process_time()
    tables, _ = invert(
        liquid.reference,
        liquid.start,
        temperature=liquid.temperature,
        iterations=iterations,
        guess=guess,
        sampling=STEP,
        progress=lambda n, value, chi2: rmsd.append([value, chi2]),
    )
    liquid.seconds += time.process_time() - begin
    return tables, rmsd


def transfer(store, iterations, only):
    """Compare the network's answer with all others on liquids whose name begins so."""
    lines = []
    for name, entry in open_catalog(store).items():
        if not name.startswith(only):
            continue
        liquid, methods = Liquid(entry), {}
        tables, path = ibi(liquid, iterations)
        note(methods, "IBI from the PMF", liquid, tables, path=path, runs=len(path))
        fitted, count = simplex(liquid)
        note(methods, "simplex", liquid, liquid.table(*fitted), parameters=list(fitted), runs=count)
        refine(methods, "the first peak", liquid, first_peak(liquid))
        begin = time.process_time()
        answer = invert_pair(entry, (liquid.kind, liquid.kind), model=read_model())
        liquid.seconds = time.process_time() - begin
        print(answer.text(), flush=True)
        found = answer.sigma, answer.epsilon
        note(methods, "network", liquid, liquid.table(*found), parameters=found, runs=0)
        found = answer.closest.sigma, answer.closest.epsilon
        guess = liquid.table(*found)
        note(methods, "closest", liquid, guess, parameters=found, runs=0)
        tables, path = ibi(liquid, iterations, guess)
        note(methods, "IBI from the closest", liquid, tables, path=path, runs=len(path))
        refine(methods, "the closest", liquid, found)
        state = {"dataset": name, "kind": liquid.kind, "temperature": liquid.temperature}
        lines.append(state | {"answer": answer.to_dict(), "methods": methods})
    show(lines)
    return lines


def show(lines):
    """Print the tables of docs/liquid-state.md."""
    print("| | | σ / nm | ε/k / K | rmsd | TV / % | 1000 KL | runs | s |\n" + "|---" * 9 + "|")
    for line in lines:
        label = f"{line['kind']}, {line['temperature']:g} K"
        answers = {"network": line["answer"], "closest": line["answer"]["closest"]}
        for name, found in line["methods"].items():
            sigma, epsilon = found.get("parameters", (np.nan, np.nan))
            shown = f"{sigma:.4f} | {epsilon / BOLTZMANN:.2f}" if sigma > 0 else "table | "
            if said := answers.get(name):
                shown = f"{sigma:.4f} ± {said['sigma_error']:.2g} | "
                shown += f"{epsilon / BOLTZMANN:.2f} ± {said['epsilon_error'] / BOLTZMANN:.2g}"
            far = (
                f"{scale * value:.{digits}f} ± {scale * error:.{digits}f}"
                for (value, error, _), scale, digits in zip(
                    (found["rmsd"], found["tv"], found["kl"]), (1.0, 100.0, 1000.0), (3, 2, 2), strict=True
                )
            )
            print(f"| {label} | {name} | {shown} | {' | '.join(far)} | {found['runs']} | {found['seconds']:.1f} |")
            label = ""
    equal = np.mean([[m[key][2] for key in ("rmsd", "tv", "kl")] for one in lines for m in one["methods"].values()], 0)
    print(f"two equal liquids: rmsd {equal[0]:.4f}, TV {100 * equal[1]:.2f} %, 1000 KL {1000 * equal[2]:.2f}")
    for line in lines:
        for begun in ("the PMF", "the closest"):
            path = [f"{rmsd:.3f}" for rmsd, _ in line["methods"][f"IBI from {begun}"]["path"]]
            print(f"| {line['kind']}, {line['temperature']:g} K | {begun} | {' | '.join(path)} |")


def refine(methods, begun, liquid, parameters):
    """Find the least relative entropy from some parameters on, and keep it."""
    best, path = relative_entropy(liquid, *parameters)
    shown = {"parameters": best, "path": path, "runs": len(path)}
    note(methods, f"relative entropy from {begun}", liquid, liquid.table(*best), **shown)


def note(methods, name, liquid, tables, **known):
    """Keep what a method found, its time, and how far its g is from that of the liquid."""
    methods[name] = {**known, "seconds": liquid.seconds} | liquid.compare(tables)
    liquid.seconds = 0.0
    print(liquid.name, liquid.kind, liquid.temperature, name, methods[name], flush=True)
