"""Write VOTCA's topology and settings for the bead trajectories; the terms are listed by plain loops over the bonds."""

from pathlib import Path

TYPES = dict(NC3="NC3", PO4="PO4", GL1="GL", GL2="GL", C1A="CM", C2A="CM", C3A="CT", C1B="CM", C2B="CM", C3B="CT")
RANGE = dict(
    bond=("0.005", "0.995", "0.01"),
    angle=("0.02617993877991494", "3.115412714809878", "0.05235987755982988"),
    dihedral=("-3.089232776029963", "3.089232776029963", "0.10471975511965977"),
)
BONDS = [
    ("NC3", "PO4"),
    ("PO4", "GL1"),
    ("GL1", "GL2"),
    ("GL1", "C1A"),
    ("C1A", "C2A"),
    ("C2A", "C3A"),
    ("GL2", "C1B"),
    ("C1B", "C2B"),
    ("C2B", "C3B"),
]


def terms():
    """Return the terms by kind."""
    bonded = {frozenset(bond) for bond in BONDS}
    names, found = list(TYPES), {"bond": [], "angle": [], "dihedral": []}
    chains = [(name,) for name in names]
    for what in found:
        chains = [(*c, n) for c in chains for n in names if n not in c and frozenset((c[-1], n)) in bonded]
        found[what] = [c for c in chains if names.index(c[0]) < names.index(c[-1])]
    return found


def kind(chain):
    """Return the kind of a term, in the direction that comes first in the alphabet."""
    types = tuple(TYPES[name] for name in chain)
    return "-".join(min(types, types[::-1]))


def pair(a, b, top):
    """Return the settings of one rdf."""
    return (
        f"<non-bonded><name>rdf_{a}-{b}</name><type1>{a}</type1><type2>{b}</type2><min>0.01</min><max>{top}</max>"
        "<step>0.02</step></non-bonded>\n"
    )


def main():
    """Write the four files."""
    groups = {}
    for what, chains in terms().items():
        for chain in chains:
            groups.setdefault((what, kind(chain)), []).append(chain)
    beads = "".join(f'<bead name="{n}" type="{t}" mass="1" q="0" resid="1"/>' for n, t in TYPES.items())
    bonded = "".join(
        f"<{what}><name>{what}_{k}</name><beads>\n"
        + "\n".join(" ".join(f"DMPC:{n}" for n in chain) for chain in chains)
        + f"\n</beads></{what}>\n"
        for (what, k), chains in groups.items()
    )
    Path("dmpc_topology.xml").write_text(
        f'<topology><molecules><molecule name="DMPC" nmols="64" nbeads="10">{beads}</molecule></molecules>'
        f"<bonded>\n{bonded}</bonded></topology>\n"
    )
    Path("methane_topology.xml").write_text(
        '<topology><molecules><molecule name="CH4" nmols="222" nbeads="1">'
        '<bead name="CH4" type="CH4" mass="1" q="0" resid="1"/></molecule></molecules></topology>\n'
    )
    bonded = "".join(
        f"<bonded><name>{what}_{k}</name><min>{RANGE[what][0]}</min><max>{RANGE[what][1]}</max><step>{RANGE[what][2]}</step></bonded>\n"
        for what, k in groups
    )
    types = sorted(set(TYPES.values()))
    pairs = "".join(pair(a, b, 1.49) for i, a in enumerate(types) for b in types[i:])
    Path("dmpc_settings.xml").write_text(f"<cg>{bonded}{pairs}</cg>\n")
    Path("methane_settings.xml").write_text(f"<cg>{pair('CH4', 'CH4', 1.09)}</cg>\n")


if __name__ == "__main__":
    main()
