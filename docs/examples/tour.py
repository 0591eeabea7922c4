# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown]
# # A tour of cgstore
#
# From raw trajectories to batches of training data. Run it from the root of a checkout, as a notebook
# (Jupytext, VS Code) or with `python docs/examples/tour.py`. It takes some seconds and writes the folders
# `store` and `cgstore-demo`.

# %%
from pathlib import Path

import numpy as np

import cgstore

# %% [markdown]
# ## From the archive into the store
#
# A recipe says what a system is; its beads are defined in a mapping file. Run this cell twice: the second time
# nothing is new, and nothing is written.

# %%
recipes = ["ingest/recipes/methane_112k.toml", "ingest/recipes/methane_150k.toml", "ingest/recipes/dmpc_303k.toml"]
for summary in cgstore.ingest(recipes, archive="archive", store="store", jobs=2):
    print(summary.run, summary.action, summary.frames, "frames", summary.particles)

# %% [markdown]
# ## Find it again
#
# A catalog shows itself as a table. A tuple is a closed range, a list means any of these.

# %%
catalog = cgstore.open_catalog("store")
catalog.search(kind="liquid", temperature=(100, 130))

# %%
catalog.search(lipid="DMPC", level="cg")

# %% [markdown]
# ## A dataset is lazy xarray with units
#
# Nothing is read until something is computed. Provenance is in the attributes, down to the digests of the
# source files.

# %%
ds = catalog["dmpc_303k/r1/cg"].open()
print(ds["position"])
print(ds.attrs["title"], "from", ds.attrs["sources"][0]["path"])

# %% [markdown]
# Everything xarray and NumPy can do works. The area per lipid, from the box of each frame:

# %%
area = ds["box"][:, 0, 0] * ds["box"][:, 1, 1] / (ds.attrs["composition"]["DMPC"] / 2)
print(f"area per lipid: {float(area.mean()):.3f} nm²")

# %% [markdown]
# ## Distributions, each with its error
#
# `rdf` is right for changing and triclinic boxes; pairs up to three bonds apart are left out. Errors are
# standard errors of the mean from blocks longer than the correlation time, and NaN where they are not known.

# %%
g = cgstore.rdf(ds, pairs=[("NC3", "PO4")], r_max=1.5).compute()
top = int(g["rdf"].values.argmax())
print(f"choline to phosphate: g = {g['rdf'].values[0, top]:.2f} ± {g['rdf_error'].values[0, top]:.2f} "
      f"at {float(g['r'][top]):.3f} nm")  # fmt: skip

# %%
b = cgstore.bonded(ds).compute()
mean = (b["bond"] * b["r"]).sum("r") / b["bond"].sum("r")
for kind, length in zip(b["bond_kind"].values, mean.values, strict=True):
    print(f"{kind:8s} {length:.3f} nm")

# %% [markdown]
# A figure is a matplotlib `Figure`, which a notebook shows by itself.

# %%
from cgstore.plot import figure_of, save_figure

figure = figure_of(g, "rdf")
print(save_figure(figure, Path("cgstore-demo/choline_phosphate.png")))

# %% [markdown]
# ## Batches for training
#
# A split says what a fit may learn from, and what it must never see. The loader visits each frame once per
# epoch, in an order that depends on the seed alone, and resumes in the middle of an epoch.

# %%
from cgstore.learn import Loader, Split

split = Split.from_dict(
    {"train": [{"dataset": "methane_112k/r1/cg"}], "heldout": [{"dataset": "methane_150k/r1/cg"}]}, where="this tour"
)
loader = Loader(catalog, split.train, batch_size=64, variables=["position"], seed=1)
batches = iter(loader)
batch = next(batches)
print({name: tuple(tensor.shape) for name, tensor in batch.items()})

# %%
state = loader.state_dict()
second = next(batches)
again = Loader(catalog, split.train, batch_size=64, variables=["position"], seed=1)
again.load_state_dict(state)
assert np.array_equal(next(iter(again))["frame"], second["frame"])
print("resumed at the same frames")

# %% [markdown]
# What is held out is refused, not read by mistake.

# %%
leaky = Split.from_dict({"train": [{"dataset": "methane_*/r1/cg"}], "heldout": [{"dataset": "methane_150k/r1/cg"}]})
try:
    Loader(catalog, leaky.train, batch_size=64)
except cgstore.errors.InputError as error:
    print(error)

# %% [markdown]
# ## Is it all still there?

# %%
print(cgstore.verify("store", deep=True) or "sound")
