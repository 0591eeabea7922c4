"""From CO, F2 and CH4 to Lennard-Jones beads: in one shot by a network, and by what iterates."""

import time

import numpy as np
from scipy.optimize import minimize

from cgstore.averages.counting import count_blocks
from cgstore.averages.pair import rdf_blocks, rdf_counter, rdf_from_blocks
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
    """Return rmsd; total variation Σ |g − g_ref| Δr in nm; KL Σ p_ref ln(p_ref/p), p ∝ 4πr² g Δr of sum one."""
    p, q = (np.maximum(curve, 1e-6) * r**2 for curve in (reference, g))
    p, q = p / p.sum(), q / q.sum()
    difference = g - reference
    return np.array(
        [(difference**2).mean() ** 0.5, np.abs(difference).sum() * (r[1] - r[0]), (p * np.log(p / q)).sum()]
    )


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


def relative_entropy(liquid, sigma, epsilon, iterations=4):
    """Return σ and ε of the least relative entropy: ⟨r⁻¹²⟩ and ⟨r⁻⁶⟩ of the reference, by Newton steps.

    U = a r⁻¹² − b r⁻⁶ is linear in a and b; ∂S/∂λ = β (⟨B⟩_ref − ⟨B⟩), ∂²S/∂λ² = β² cov B. Shell 2008,
    doi:10.1063/1.2992060.
    """
    path = [[sigma, epsilon]]
    for step in range(iterations):
        tables = liquid.table(sigma, epsilon)
        cutoff = tables[liquid.pair].cutoff
        wanted = _sums(liquid.ds, cutoff, sigma).mean(axis=0)
        found = _sums(liquid.run(tables, STEP, seed=step), cutoff, sigma)
        change = BOLTZMANN * liquid.temperature * np.linalg.solve(np.cov(found.T), found.mean(axis=0) - wanted)
        a, b = 4.0 * epsilon + change  # U = a (σ/r)¹² − b (σ/r)⁶
        if not (a > 0.0 and b > 0.0):
            break
        new = sigma * (a / b) ** (1.0 / 6.0), b**2 / (4.0 * a)
        sigma = float(np.clip(new[0], 0.97 * sigma, 1.03 * sigma))
        epsilon = float(np.clip(new[1], epsilon / 1.3, 1.3 * epsilon))
        path.append([sigma, epsilon])
    return np.mean(path[-2:], axis=0), path


def _sums(ds, cutoff, sigma):
    """Return Σ (σ/r)¹² and −Σ (σ/r)⁶ over the pairs of each frame (frame, 2), from narrow bins."""
    ds = ds.isel(frame=slice(None, None, max(1, ds.sizes["frame"] // 400)))
    counter = rdf_counter(ds, pairs=None, r_max=cutoff, bin_width=0.002, exclude_bonded=0)
    ((blocks,),) = count_blocks(ds, [counter], length=1)
    counts = blocks["count"].transpose("block", "pair", "r").values[:, 0]
    x = (sigma / blocks["r"].values) ** 6
    x[blocks["r"].values < 0.6 * sigma] = 0.0
    return counts @ np.stack([x**2, -x], 1)


def simplex(liquid, evaluations=30):
    """Return σ and ε of the least squared deviation of g, by Nelder and Mead; the same random numbers for all."""
    r, g_ref = liquid.reference["r"].values, liquid.reference["rdf"].values[0]
    count = 0

    def loss(x):
        nonlocal count
        count += 1
        samples = liquid.run(liquid.table(*np.exp(x)), TRY)
        g = rdf_from_blocks(rdf_blocks(samples, r_max=REACH, bin_width=WIDTH)).compute()["rdf"].values[0]
        return float(((g - g_ref) ** 2).mean())

    first = np.log([r[g_ref.argmax()] / 2 ** (1 / 6), BOLTZMANN * liquid.temperature])
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
    """Compare the network's answer with all others on liquids whose name begins so; without a name, with nothing."""
    lines = []
    for name, entry in open_catalog(store).items():
        if not name.startswith("simple_liquids") or not name.startswith(only):
            continue
        liquid, methods = Liquid(entry), {}
        if only:
            tables, path = ibi(liquid, iterations)
            note(methods, "IBI from the PMF", liquid, tables, path=path, runs=len(path))
            fitted, count = simplex(liquid)
            note(methods, "simplex", liquid, liquid.table(*fitted), parameters=list(fitted), runs=count)
            best, path = relative_entropy(liquid, *fitted)
            note(methods, "relative entropy", liquid, liquid.table(*best), parameters=list(best), path=path)
        begin = time.process_time()
        answer = invert_pair(entry, (liquid.kind, liquid.kind), model=read_model())
        liquid.seconds = time.process_time() - begin
        print(answer.text(), flush=True)
        guess = liquid.table(answer.sigma, answer.epsilon)
        note(methods, "network", liquid, guess, parameters=[answer.sigma, answer.epsilon], runs=0)
        if only:
            tables, path = ibi(liquid, iterations, guess)
            note(methods, "IBI from the network", liquid, tables, path=path, runs=len(path))
        state = {"dataset": name, "kind": liquid.kind, "temperature": liquid.temperature}
        lines.append(state | {"answer": answer.to_dict(), "methods": methods})
    return lines


def note(methods, name, liquid, tables, **known):
    """Keep what a method found, its time, and how far its g is from that of the liquid."""
    methods[name] = {**known, "seconds": liquid.seconds} | liquid.compare(tables)
    liquid.seconds = 0.0
    print(liquid.name, liquid.kind, liquid.temperature, name, methods[name], flush=True)
