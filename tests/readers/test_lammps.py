"""LAMMPS dumps: units by the laws of motion, every kind of coordinates, boxes, ids; and what MDAnalysis reads."""

from pathlib import Path

import MDAnalysis
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers.lammps import UNITS, open_lammps
from cgstore.units import BOLTZMANN

DUMPS = Path(__file__).parents[1] / "data" / "lammps_dumps"
BOX = "ITEM: BOX BOUNDS pp pp pp\n-1 9\n2 12\n0 10\n"
HEAD = f"ITEM: TIMESTEP\n{{}}\nITEM: NUMBER OF ATOMS\n{{}}\n{BOX}ITEM: ATOMS id type {{}}\n"


def everything(path: Path, units: str = "real") -> Frames:
    reader = open_lammps(path, units=units)
    assert reader.flaw == ""
    return reader.read(np.arange(len(reader.time)))


@pytest.mark.parametrize(("units", "mass"), [("real", 39.948), ("metal", 39.948), ("nano", 39.948), ("lj", 1.0)])
def test_positions_velocities_forces_and_times_obey_the_law_of_motion(units: str, mass: float) -> None:
    frames = everything(DUMPS / f"{units}.lammpstrj", units)
    x, v, f = (array.astype(np.float64) for array in (frames.position, frames.velocity, frames.force))  # type: ignore[union-attr]
    interval = np.diff(frames.time)
    np.testing.assert_allclose(interval, interval[0])
    # Velocity Verlet to the letter: nm, ps, kJ/mol/nm and u fit together without a factor.
    moved = v[:-1] * interval[0] + f[:-1] / mass * interval[0] ** 2 / 2
    np.testing.assert_allclose(x[1:] - x[:-1], moved, atol=3e-7)
    pushed = (f[1:] + f[:-1]) / mass * interval[0] / 2
    np.testing.assert_allclose(v[1:] - v[:-1], pushed, atol=2e-4 * np.abs(pushed).max())


def test_velocities_are_those_of_the_temperature_that_was_asked_for() -> None:
    for units, mass, energy in (("real", 39.948, 90 * BOLTZMANN), ("nano", 39.948, 90 * BOLTZMANN), ("lj", 1.0, 0.75)):
        frames = everything(DUMPS / f"{units}.lammpstrj", units)
        assert frames.velocity is not None
        freedom = 3 * (8 - 1)
        kinetic = (mass * frames.velocity[0].astype(np.float64) ** 2).sum()
        assert kinetic / freedom == pytest.approx(energy, rel=1e-4)


def test_every_kind_of_coordinates_gives_the_same_positions() -> None:
    expected = everything(DUMPS / "x.lammpstrj")
    assert expected.box is not None
    assert expected.box[:, 0, 0].std() > 0.01
    inverse = np.linalg.inv(expected.box.astype(np.float64))
    for kind in ("xs", "xu", "xsu"):
        found = everything(DUMPS / f"{kind}.lammpstrj")
        images = (found.position - expected.position.astype(np.float64)) @ inverse
        np.testing.assert_allclose(images, np.rint(images), atol=3e-7)
        assert np.abs(np.rint(images)).max() == (kind in ("xu", "xsu"))
        assert (found.box == expected.box).all()
        assert found.step.tolist() == [0, 60, 120, 180]
    fractions = expected.position @ inverse
    assert fractions.min() > -1e-6  # relative to the corner of the box
    assert fractions.max() < 1 + 1e-6


def test_mdanalysis_reads_the_same() -> None:
    ours = everything(DUMPS / "x.lammpstrj")
    theirs = MDAnalysis.coordinates.LAMMPS.DumpReader(str(DUMPS / "x.lammpstrj"), dt=1.0)
    for frame, step in enumerate(theirs):
        np.testing.assert_allclose(ours.position[frame], step.positions / 10, atol=3e-7)
        np.testing.assert_allclose(ours.velocity[frame], step.velocities * 100, rtol=1e-6)  # type: ignore[index]
        np.testing.assert_allclose(ours.box[frame], step.triclinic_dimensions / 10, atol=1e-6)  # type: ignore[index]
        assert ours.step[frame] == step.data["step"]
    theirs.close()


def test_a_general_triclinic_box(tmp_path: Path) -> None:
    edges, corner = np.array([[3.0, 4, 0], [-4, 3, 1], [0, 1, 6]]), np.array([1.0, -2, 3])
    fraction = np.random.default_rng(1).random((5, 3))
    rows = "".join(f"{a:.12g} {b:.12g} {c:.12g} {o:.12g}\n" for (a, b, c), o in zip(edges, corner, strict=True))
    for names, values in (("x y z", fraction @ edges + corner), ("xs ys zs", fraction)):
        atoms = "".join(f"{i + 1} {a:.12g} {b:.12g} {c:.12g}\n" for i, (a, b, c) in enumerate(values))
        path = tmp_path / "a.dump"
        path.write_text(
            "ITEM: TIMESTEP\n7\nITEM: NUMBER OF ATOMS\n5\nITEM: BOX BOUNDS abc origin pp pp pp\n"
            f"{rows}ITEM: ATOMS id {names}\n{atoms}"
        )
        frames = everything(path)
        np.testing.assert_allclose(frames.position[0], fraction @ edges / 10, atol=1e-7)
        np.testing.assert_allclose(frames.box, [edges / 10], rtol=1e-6)


@pytest.mark.parametrize(("flags", "shift"), [("pp pp pp", [1, -2, 0]), ("", [1, -2, 0]), ("pp ff fs", [1, 0, 0])])
def test_only_the_corner_of_periodic_directions_is_taken_off(tmp_path: Path, flags: str, shift: list[float]) -> None:
    path = tmp_path / "a.lammpstrj"
    path.write_text(HEAD.format(0, 1, "x y z").replace("pp pp pp", flags) + "1 1 3 4 5\n")
    frames = everything(path)
    np.testing.assert_allclose(frames.position[0, 0], (np.array([3, 4, 5]) + shift) / 10, rtol=1e-6)
    assert frames.box is not None
    np.testing.assert_allclose(frames.box[0], np.eye(3), rtol=1e-6)


def test_without_periodic_direction_there_is_no_box_and_positions_are_as_written(tmp_path: Path) -> None:
    path = tmp_path / "a.lammpstrj"
    for names, atom in (("x y z", "1 1 3 4 5\n"), ("xs ys zs", "1 1 0.4 0.2 0.5\n")):
        path.write_text(HEAD.format(0, 1, names).replace("pp pp pp", "ss ff mm") + atom)
        frames = everything(path)
        assert frames.box is None
        np.testing.assert_allclose(frames.position[0, 0], [0.3, 0.4, 0.5], rtol=1e-6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    ids=st.lists(st.integers(1, 10**9), min_size=1, max_size=9, unique=True),
    contiguous=st.booleans(),
    names=st.permutations(["id", "type", "x", "y", "z", "element"]),
    seed=st.integers(0, 999),
    end=st.sampled_from(["\n", "\r\n", " \n"]),
)
def test_atoms_are_sorted_by_ids_of_any_kind(
    tmp_path: Path, ids: list[int], contiguous: bool, names: list[str], seed: int, end: str
) -> None:
    random = np.random.default_rng(seed)
    ids = list(range(1, len(ids) + 1)) if contiguous else sorted(ids)
    position = random.uniform(-50, 50, (3, len(ids), 3)).round(4)
    text = ""
    for frame in range(3):
        text += HEAD.format(frame * 10, len(ids), "").replace("id type", " ".join(names)).replace("\n", end)
        for k in random.permutation(len(ids)):
            x, y, z = position[frame, k]
            cells = {"id": ids[k], "type": 1, "x": x, "y": y, "z": z, "element": "Na+"}
            text += " ".join(str(cells[name]) for name in names) + end
    (tmp_path / "a.dump").write_bytes(text.encode())
    frames = everything(tmp_path / "a.dump")
    assert (frames.position == ((position - [-1, 2, 0]) * 0.1).astype(np.float32)).all()
    assert frames.step.tolist() == [0, 10, 20]
    assert frames.time.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("1 1 0 0 0\n1 1 0 0 0\n", "the id 2 is missing, another is there twice"),
        ("1 1 0 0 0\n3 1 0 0 0\n", "it has the id 3, which the first frame does not have"),
        ("1 1 0 0 0\n1.5 1 0 0 0\n", "it has the id 1.5"),
        ("1 1 0 0 0\nnan 1 0 0 0\n", "it has the id nan"),
        ("2 1 0 0 0\n1 1 0 0\n", "expected 5 columns with numbers, found '1 1 0 0'"),
        ("2 1 0 0 0\n1 1 0 0 0 0\n", "expected 5 columns"),
    ],
)
def test_frames_that_do_not_fit_the_first_are_damaged(tmp_path: Path, second: str, reason: str) -> None:
    path = tmp_path / "a.lammpstrj"
    head = HEAD.format(0, 2, "x y z")
    path.write_text(head + "2 1 0 0 0\n1 1 0 0 0\n" + head + second)
    reader = open_lammps(path)
    assert len(reader.read(np.array([0]))) == 1
    with pytest.raises(InputError, match=f"frame 1 is damaged: {reason}"):
        reader.read(np.array([1]))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("id type", "type mol", "no column id"),
        ("x y z", "x y", "no positions"),
        ("NUMBER OF ATOMS\n2", "NUMBER OF ATOMS\n0", "where the number of particles belongs"),
        ("NUMBER OF ATOMS\n2", "NUMBER OF ATOMS\n-2", "where the number of particles belongs"),
        ("NUMBER OF ATOMS\n2", "NUMBER OF ATOMS\n2000000000000000", "where the number of particles belongs"),
        ("NUMBER OF ATOMS\n2", "NUMBER OF ATOMS\n200000000", "the file ends in the middle of frame 0"),
        ("NUMBER OF ATOMS", "NUMBER OF ENTRIES", "ITEM of another kind"),
        ("TIMESTEP\n0", "TIMESTEP\nnan", "where the step belongs"),
        ("-1 9", "9 9", "box without extent"),
        ("-1 9", "nan 9", "box without extent"),
        ("-1 9", "-1 9 0", "BOX BOUNDS that cannot be read"),
        ("BOUNDS pp", "BOUNDS xy xz pp", "BOX BOUNDS that cannot be read"),
        ("\n1 1 0", "\n2 1 0", "has the id 2 twice"),
        ("\n1 1 0", "\n1e300 1 0", "has the id 1e\\+300"),
        ("ITEM: TIMESTEP", "ITEM: UNITS\nelectron\nITEM: TIMESTEP", "its units are electron, not real; convert it"),
        ("ITEM: TIMESTEP", "ITEM: UNITS\nmetal\nITEM: TIMESTEP", 'its units are metal, not real; set units = "metal"'),
        ("ITEM: TIMESTEP", "TIMESTEP", "where an ITEM belongs"),
    ],
)
def test_a_header_that_makes_no_sense_is_an_input_error(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "a.lammpstrj"
    path.write_text((HEAD.format(0, 2, "x y z") + "2 1 0 0 0\n1 1 0 0 0\n").replace(old, new, 1))
    with pytest.raises(InputError, match=rf"a\.lammpstrj: .*{reason}"):
        open_lammps(path)


def test_unknown_units_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"units: found 'reel', expected real \| metal \| nano \| lj; did you mean"):
        open_lammps(tmp_path / "a.dump", units="reel")


def test_other_columns_end_the_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.lammpstrj"
    path.write_text(HEAD.format(0, 1, "x y z") + "1 1 0 0 0\n" + HEAD.format(1, 1, "xs ys zs") + "1 1 0 0 0\n")
    reader = open_lammps(path)
    assert len(reader.time) == 1
    assert "frame 1 (byte" in reader.flaw
    assert "other columns" in reader.flaw


def test_the_units_are_those_of_their_definitions() -> None:
    avogadro, calorie, electronvolt = 6.02214076e23, 4184.0, 1.602176634e-19  # 1/mol, J/kcal, J
    assert UNITS["real"].force == pytest.approx(calorie / 1000 / 0.1)
    assert UNITS["metal"].force == pytest.approx(electronvolt * avogadro / 1000 / 0.1, rel=1e-11)
    assert UNITS["nano"].force == pytest.approx(1e-21 * 1e-9 / 1e-18 * avogadro * 1e-9 / 1000, rel=1e-9)
    for units in UNITS.values():
        assert units.velocity == pytest.approx(units.length / units.time)
