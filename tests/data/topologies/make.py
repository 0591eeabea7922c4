"""Make the topology files of this folder: two methanols, three TIP4P waters and a sodium ion in ten formats.

Run it in this folder: `python make.py`. It needs GROMACS (gmx), ParmEd, gsd and h5py.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import gsd.hoomd
import h5py
import numpy as np
import parmed

TOP = """[ defaults ]
1 2 yes 0.5 0.5
[ atomtypes ]
; name at.num mass charge ptype sigma epsilon
CT 6 12.011 0 A 0.350 0.276
HC 1 1.008 0 A 0.250 0.126
OH 8 15.9994 0 A 0.307 0.711
HO 1 1.008 0 A 0 0
OW 8 15.9994 0 A 0.31536 0.6485
HW 1 1.008 0 A 0 0
MW 0 0 0 D 0 0
NA 11 22.98977 0 A 0.333 0.0116
[ moleculetype ]
MeOH 3
[ atoms ]
1 CT 1 MOH C1 1 0.145 12.011
2 HC 1 MOH H1 1 0.040 1.008
3 HC 1 MOH H2 1 0.040 1.008
4 HC 1 MOH H3 1 0.040 1.008
5 OH 1 MOH O1 1 -0.683 15.9994
6 HO 1 MOH HO1 1 0.418 1.008
[ bonds ]
1 2 1 0.109 284512
1 3 1 0.109 284512
1 4 1 0.109 284512
1 5 1 0.141 267776
5 6 1 0.0945 462750
[ angles ]
2 1 3 1 107.8 276
2 1 4 1 107.8 276
3 1 4 1 107.8 276
2 1 5 1 109.5 293
3 1 5 1 109.5 293
4 1 5 1 109.5 293
1 5 6 1 108.5 460
[ dihedrals ]
2 1 5 6 1 0 0.9 3
3 1 5 6 1 0 0.9 3
4 1 5 6 1 0 0.9 3
[ moleculetype ]
SOL 2
[ atoms ]
1 OW 1 SOL OW 1 0 15.9994
2 HW 1 SOL HW1 1 0.52 1.008
3 HW 1 SOL HW2 1 0.52 1.008
4 MW 1 SOL MW 1 -1.04 0
BONDS
[ exclusions ]
1 2 3 4
2 1 3 4
3 1 2 4
4 1 2 3
[ virtual_sites3 ]
4 1 2 3 1 0.128012065 0.128012065
[ moleculetype ]
NA 1
[ atoms ]
1 NA 1 NA NA 1 1 22.98977
[ system ]
methanol and water
[ molecules ]
MeOH 2
SOL 3
NA 1
"""
SETTLE = "[ settles ]\n1 1 0.09572 0.15139"
BONDS = "[ bonds ]\n1 2 1 0.09572 502416\n1 3 1 0.09572 502416\n[ angles ]\n2 1 3 1 104.52 628"


def positions() -> np.ndarray:
    """Return sensible positions (particle, xyz) in nm."""
    c, tet = np.zeros(3), np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3)
    oxygen = 0.141 * tet[3]
    hydroxyl = 0.317 * tet[3] + 0.948 * np.array([1, -1, 0]) / np.sqrt(2)
    methanol = np.array([c, *0.109 * tet[:3], oxygen, oxygen + 0.0945 * hydroxyl])
    half = np.radians(104.52 / 2)
    water = 0.09572 * np.array([[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])
    water = np.vstack([water, water[0] + 0.128012065 * (water[1:].sum(0))])
    parts = [methanol + np.array(at) for at in ([0.5, 0.5, 0.5], [1.5, 1.4, 0.6])]
    parts += [water + at for at in ([0.4, 1.5, 1.5], [1.4, 0.5, 1.5], [1.01, 1.0, 1.99])]
    return np.vstack([*parts, [[1.0, 1.0, 0.2]]])


def gro(path: Path, names: list[tuple[int, str, str]], x: np.ndarray) -> None:
    """Write a GRO."""
    lines = [f"{n:5d}{r:<5}{a:>5}{k + 1:5d}" + "".join(f"{v:8.3f}" for v in x[k]) for k, (n, r, a) in enumerate(names)]
    path.write_text(
        "\n".join(["methanol and water", f"{len(names):5d}", *lines, "   2.00000   2.00000   2.00000"]) + "\n"
    )


def main() -> None:
    """Make all files."""
    atoms = [(m, "MOH", a) for m in (1, 2) for a in ("C1", "H1", "H2", "H3", "O1", "HO1")]
    atoms += [(m, "SOL", a) for m in (3, 4, 5) for a in ("OW", "HW1", "HW2", "MW")] + [(6, "NA", "NA")]
    x = positions() % 2.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "settle.top").write_text(TOP.replace("BONDS", SETTLE))
        (folder / "bonds.top").write_text(TOP.replace("BONDS", BONDS))
        (folder / "md.mdp").write_text(
            "integrator = md\nnsteps = 0\ncutoff-scheme = Verlet\ncoulombtype = cut-off\nrcoulomb = 0.5\nrvdw = 0.5\n"
            "verlet-buffer-tolerance = -1\nrlist = 0.55\ntcoupl = v-rescale\ntc-grps = System\ntau_t = 1\nref_t = 298\n"
        )
        gro(folder / "a.gro", atoms, x)
        run = [
            "gmx",
            "-quiet",
            "grompp",
            "-f",
            "md.mdp",
            "-c",
            "a.gro",
            "-p",
            "settle.top",
            "-o",
            "a.tpr",
            "-maxwarn",
            "9",
        ]
        subprocess.run(run, cwd=folder, check=True, capture_output=True)
        Path("system.top").write_text((folder / "settle.top").read_text())
        Path("system.tpr").write_bytes((folder / "a.tpr").read_bytes())
        Path("system.gro").write_text((folder / "a.gro").read_text())
        system = parmed.gromacs.GromacsTopologyFile(str(folder / "bonds.top"))
        parmed.amber.AmberParm.from_structure(system).save("system.parm7", overwrite=True)
        Path("system.parm7").rename("system.prmtop")
        drude_psf()
        lammps(system, x)
        mol2(system, x)
        gsd_file(system, x)
        h5md(system, x)
        mdtraj_file(system, x)


def drude_psf() -> None:
    """Write a PSF as CHARMM does (EXT XPLOR DRUDE): two methanols, three SWM4 waters with Drude and lone pair, a Na."""
    methanol = [("C1", "CT", 0.145, 12.011), *((f"H{k}", "HC", 0.04, 1.008) for k in (1, 2, 3))]
    methanol += [("O1", "OH", -0.683, 15.9994), ("HO1", "HO", 0.418, 1.008)]
    water = [("OH2", "ODW", 1.7164, 15.5994), ("DOH2", "DOH2", -1.7164, 0.4), ("OM", "LPDW", -1.11466, 0.0)]
    water += [(f"H{k}", "HDW", 0.55733, 1.008) for k in (1, 2)]
    molecules = [("MEOH", "MOH", methanol)] * 2 + [("WAT", "SWM4", water)] * 3
    molecules += [("ION", "SOD", [("SOD", "SOD", 1.0, 22.98977)])]
    links = {
        "MOH": [(1, 2), (1, 3), (1, 4), (1, 5), (5, 6)],
        "SWM4": [(1, 2), (1, 3), (1, 4), (1, 5), (4, 5)],
        "SOD": [],
    }
    corners = {
        "MOH": [(2, 1, 3), (2, 1, 4), (3, 1, 4), (2, 1, 5), (3, 1, 5), (4, 1, 5), (1, 5, 6)],
        "SWM4": [(4, 1, 5)],
    }
    lines, bonds, angles, hosts = [], [], [], []
    for number, (segment, residue, atoms) in enumerate(molecules, 1):
        start = len(lines)
        for name, kind, charge, mass in atoms:
            lone = -1 if kind == "LPDW" else 0
            head = f"{len(lines) + 1:10d} {segment:8} {number:<8d} {residue:8} {name:8} {kind:6} "
            lines.append(f"{head}{charge:14.6g}{mass:14.6g}{lone:8d}{0:14.6f}{0:14.6f}")
        bonds += [start + k for pair in links[residue] for k in pair]
        angles += [start + k for corner in corners.get(residue, []) for k in corner]
        hosts += [[start + 3, start + 1, start + 4, start + 5]] if residue == "SWM4" else []

    def table(values: list[int], per_line: int) -> list[str]:
        rows = [values[k : k + per_line] for k in range(0, len(values), per_line)]
        return ["".join(f"{v:10d}" for v in row) for row in rows] + [""]

    out = ["PSF EXT XPLOR DRUDE", "", f"{2:10d} !NTITLE", "* METHANOL AND SWM4 WATER", "*    7 !NATOM IN A TITLE", ""]
    out += [f"{len(lines):10d} !NATOM", *lines, "", f"{len(bonds) // 2:10d} !NBOND: bonds", *table(bonds, 8)]
    out += [f"{len(angles) // 3:10d} !NTHETA: angles", *table(angles, 9), f"{0:10d} !NPHI: dihedrals", "", ""]
    out += [
        f"{0:10d} !NIMPHI: impropers",
        "",
        "",
        f"{0:10d} !NDON: donors",
        "",
        "",
        f"{0:10d} !NACC: acceptors",
        "",
        "",
    ]
    out += [f"{0:10d} !NNB", "", *table([0] * len(lines), 8), f"{1:10d}{0:10d} !NGRP NST2", *table([0, 0, 0], 9)]
    out += [f"{len(hosts):10d}{4 * len(hosts):10d} !NUMLP NUMLPH"]
    out += [f"{3:10d}{4 * k + 1:10d}   F   -0.240345       0.00000       0.00000" for k in range(len(hosts))]
    out += [
        *table([k for host in hosts for k in host], 8),
        f"{0:10d} !NUMANISO",
        "",
        "",
        f"{0:10d} !NCRTERM: cross-terms",
        "",
        "",
    ]
    Path("system.psf").write_text("\n".join(out) + "\n")


def lammps(system: parmed.Structure, x: np.ndarray) -> None:
    """Write a data file of atom style full, atoms in descending order of their ids."""
    types = list(dict.fromkeys(a.type for a in system.atoms))
    masses = {a.type: a.mass for a in system.atoms}
    number = {m: k + 1 for k, m in enumerate(dict.fromkeys(a.residue for a in system.atoms))}
    out = ["methanol and water, units = real", "", f"{len(x)} atoms", f"{len(system.bonds)} bonds"]
    out += [f"{len(system.angles)} angles", f"{len(types)} atom types", "1 bond types", "1 angle types", ""]
    out += [f"0.0 20.0 {a}lo {a}hi" for a in "xyz"] + ["", "Atom Type Labels", ""]
    out += [f"{k + 1} {t}" for k, t in enumerate(types)] + ["", "Masses", ""]
    out += [f"{t} {masses[t]}" for t in types] + ["", "Atoms # full", ""]
    for a in reversed(system.atoms):
        p = " ".join(f"{v:.3f}" for v in 10 * x[a.idx])
        out.append(f"{a.idx + 1} {number[a.residue]} {a.type} {a.charge:.4f} {p} 0 0 0")
    out += ["", "Bonds", ""] + [f"{k + 1} 1 {b.atom1.idx + 1} {b.atom2.idx + 1}" for k, b in enumerate(system.bonds)]
    out += ["", "Angles", ""]
    out += [f"{k + 1} 1 {t.atom1.idx + 1} {t.atom2.idx + 1} {t.atom3.idx + 1}" for k, t in enumerate(system.angles)]
    Path("system.data").write_text("\n".join(out) + "\n")


def mol2(system: parmed.Structure, x: np.ndarray) -> None:
    """Write one molecule block with SYBYL types."""
    sybyl = {"CT": "C.3", "HC": "H", "HO": "H", "HW": "H", "OH": "O.3", "OW": "O.3", "MW": "Du", "NA": "Na"}
    out = [
        "@<TRIPOS>MOLECULE",
        "methanol and water",
        f"{len(x)} {len(system.bonds)} 6 0 0",
        "SMALL",
        "USER_CHARGES",
        "",
    ]
    out += ["@<TRIPOS>ATOM"]
    for a in system.atoms:
        p = " ".join(f"{v:9.4f}" for v in 10 * x[a.idx])
        place = f"{a.residue.idx + 1} {a.residue.name}"
        out.append(f"{a.idx + 1:4d} {a.name:4} {p} {sybyl[a.type]:5} {place} {a.charge:.4f}")
    out += ["@<TRIPOS>BOND"]
    out += [f"{k + 1:4d} {b.atom1.idx + 1:4d} {b.atom2.idx + 1:4d} 1" for k, b in enumerate(system.bonds)]
    Path("system.mol2").write_text("\n".join(out) + "\n")


def gsd_file(system: parmed.Structure, x: np.ndarray) -> None:
    """Write one frame with the gsd package."""
    types = list(dict.fromkeys(a.type for a in system.atoms))
    frame = gsd.hoomd.Frame()
    frame.configuration.box = [2, 2, 2, 0, 0, 0]
    frame.particles.N = len(x)
    frame.particles.types = types
    frame.particles.typeid = [types.index(a.type) for a in system.atoms]
    frame.particles.mass = [a.mass for a in system.atoms]
    frame.particles.charge = [a.charge for a in system.atoms]
    frame.particles.position = x - 1
    groups = {
        "bonds": [(b.atom1.idx, b.atom2.idx) for b in system.bonds],
        "angles": [(t.atom1.idx, t.atom2.idx, t.atom3.idx) for t in system.angles],
    }
    for name, group in groups.items():
        table = getattr(frame, name)
        table.N, table.types, table.typeid, table.group = len(group), ["t"], [0] * len(group), group
    with gsd.hoomd.open("system.gsd", "w") as file:
        file.append(frame)


def h5md(system: parmed.Structure, x: np.ndarray) -> None:
    """Write one frame after the H5MD specification, with ids that count downwards and an enumeration of species."""
    types = list(dict.fromkeys(a.type for a in system.atoms))
    with h5py.File("system.h5md", "w") as file:
        file.create_group("h5md").attrs["version"] = [1, 1]
        group = file.create_group("particles/all")
        group.create_dataset("position/value", data=x[None].astype("f4")).attrs["unit"] = "nm"
        group.create_dataset("position/step", data=[0])
        group.create_dataset("position/time", data=[0.0])
        group.create_group("box").attrs["boundary"] = ["periodic"] * 3
        group["box"].create_dataset("edges", data=np.full(3, 2.0))
        kind = h5py.enum_dtype({t: k for k, t in enumerate(types)}, basetype="i1")
        group.create_dataset("species", data=[types.index(a.type) for a in system.atoms], dtype=kind)
        group.create_dataset("mass", data=[a.mass for a in system.atoms])
        group.create_dataset("charge/value", data=[[a.charge for a in system.atoms]])
        ids = np.arange(100, 100 - len(x), -1)
        group.create_dataset("id", data=ids)
        file.create_dataset("connectivity/bonds", data=[[ids[b.atom1.idx], ids[b.atom2.idx]] for b in system.bonds])
        file.create_dataset(
            "connectivity/angles",
            data=[[ids[t.atom1.idx], ids[t.atom2.idx], ids[t.atom3.idx]] for t in system.angles],
        )


def mdtraj_file(system: parmed.Structure, x: np.ndarray) -> None:
    """Write one frame as MDTraj lays it out; it knows no charges and gives virtual sites the element VS."""
    residues = []
    for residue in system.residues:
        symbols = ["VS" if a.name == "MW" else parmed.periodic_table.Element[a.atomic_number] for a in residue.atoms]
        rows = zip(residue.atoms, symbols, strict=True)
        atoms = [{"index": a.idx, "name": a.name, "element": symbol} for a, symbol in rows]
        residues.append({"name": residue.name, "resSeq": residue.idx + 1, "segmentID": "", "atoms": atoms})
    bonds = [[b.atom1.idx, b.atom2.idx] for b in system.bonds]
    tree = {"chains": [{"index": 0, "residues": residues}], "bonds": bonds}
    with h5py.File("system.h5", "w") as file:
        file.attrs["conventions"], file.attrs["conventionVersion"] = "Pande", "1.1"
        file.create_dataset("coordinates", data=x[None].astype("f4")).attrs["units"] = "nanometers"
        file.create_dataset("time", data=np.zeros(1, "f4")).attrs["units"] = "picoseconds"
        file.create_dataset("cell_lengths", data=np.full((1, 3), 2, "f4")).attrs["units"] = "nanometers"
        file.create_dataset("cell_angles", data=np.full((1, 3), 90, "f4")).attrs["units"] = "degrees"
        file.create_dataset("topology", data=np.array([json.dumps(tree).encode()]))


if __name__ == "__main__":
    main()
