"""FIT.toml: what a fit learns from, which potential, how it samples and trains, and what it must reach.

Nothing here needs torch.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from cgstore.documents import Document, Length, Pressure, Time
from cgstore.errors import InputError
from cgstore.units import parse_quantity

__all__ = [
    "AngularTable",
    "BaselineTable",
    "FitFile",
    "Loss",
    "Method",
    "PotentialTable",
    "Sampling",
    "SamplingTable",
    "Start",
    "Training",
    "TrainingTable",
    "ValidationTable",
]


Method = Literal["newton", "frames", "adam"]
Start = Literal["prior", "pmf", "ibi", "imc"]
Loss = Literal["chi2", "sse", "forces"]
Kind = Literal["pair", "atomic", "molecular"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an ensemble is drawn: Langevin motion from each starting frame; times in ps, friction in 1/ps."""

    time_step: float = 0.01
    friction: float = 1.0
    equilibrate: float = 2.0
    duration: float = 12.0
    every: float = 0.5
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Training:
    """How a potential is moved.

    A round draws new frames for every state point, then moves the potential while they last: until fewer than
    `effective` of them count after reweighting, at most `steps` times. See `cgstore.learn.moves` for the methods.
    """

    rounds: int = 9
    steps: int = 2
    effective: float = 0.6
    damping: float = 3e-4
    iterations: int = 12
    method: Method = "newton"
    rate: float = 1e-3  # of Adam
    patience: int = 0  # rounds without a better watched loss, after which it ends; 0: never


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Part = Annotated[float, Field(gt=0, lt=1)]


def _barostat_or_quantity(value: object) -> object:
    """Read a pressure that is to be matched."""
    if value == "barostat":
        return value
    try:
        return parse_quantity(value, "pressure")
    except InputError as error:
        raise InputError(f'{error}, or "barostat" for that of each dataset') from error


# In bar; "barostat": that of each dataset.
MatchedPressure = Annotated[Literal["barostat"] | float, BeforeValidator(_barostat_or_quantity)]

# What only a training on averages has a use for.
_AVERAGES = {"effective", "damping", "iterations", "floor", "method", "pressure", "pressure_error", "plane"}


class AngularTable(Document):
    """`[potential.angular]`: what atomic networks see of angles; see `cgstore.learn.angular`."""

    cutoff: Length
    widths: PositiveInt = 2  # Gaussians of the distance
    powers: tuple[Annotated[int, Field(ge=1, le=8)], ...] = (1, 2, 4)  # of 1 ± cos θ


class PotentialTable(Document):
    """`[potential]`: the network of `PairNetwork`, `AtomicNetwork` or, of molecules, `MolecularNetwork`."""

    kind: Kind = "pair"
    cutoff: Length
    spacing: Length = 0.002  # of the tables of pairs
    features: Annotated[int, Field(ge=3)] = 24  # Gaussians of the distance, or radial functions of each neighbour
    hidden: tuple[PositiveInt, ...] = (32, 32)
    angular: AngularTable | None = None  # of atomic networks
    inputs: tuple[Literal["temperature", "density"], ...] = ()  # what atomic networks are told of a system
    start: Start = "prior"  # what it begins as: that alone, or potentials of mean force or of an inversion besides
    start_iterations: PositiveInt = 3  # of "ibi" and "imc"
    start_step: Annotated[float, Field(gt=0, le=1)] | None = None  # part of a correction that is made, of molecules

    @model_validator(mode="after")
    def _says_what_its_kind_has(self) -> "PotentialTable":
        """Refuse what the kind has no use for, and molecules that begin as nothing."""
        if self.kind == "pair" and (self.inputs or self.angular or self.start != "prior"):
            raise ValueError('inputs, angular and start are for kind = "atomic"')
        if self.kind == "molecular" and (self.inputs or self.angular):
            raise ValueError('inputs and angular are for kind = "atomic"')
        if self.kind == "molecular" and self.start == "prior":
            raise ValueError('kind = "molecular" begins as tables: expected start = "pmf", "ibi" or "imc"')
        if self.kind != "molecular" and self.start_step is not None:
            raise ValueError('start_step is for kind = "molecular"')
        if self.angular is not None and not (self.angular.powers and 0 < self.angular.cutoff <= self.cutoff):
            raise ValueError(
                "angular: expected a power at least, and a positive cutoff that is not beyond that of [potential]"
            )
        return self


class SamplingTable(Document):
    """`[sampling]`: replicas of Langevin motion, in the boxes of frames drawn from the training data."""

    replicas: Annotated[int, Field(ge=4)] = 16  # their scatter is the error of the model
    time_step: Time = 0.01
    relaxation: Time = 1.0  # of velocities; one over the friction
    equilibrate: Time = 2.0
    duration: Time = 12.0
    every: Time = 0.5

    @model_validator(mode="after")
    def _times_fit(self) -> "SamplingTable":
        """Refuse times without a meaning."""
        if not (self.time_step > 0 and self.relaxation > 0 and self.equilibrate >= 0):
            raise ValueError("time_step and relaxation must be positive, equilibrate not negative")
        if not self.time_step <= self.every <= self.duration:
            raise ValueError("expected time_step <= every <= duration")
        return self

    def sampling(self) -> Sampling:
        """Return what the sampler takes."""
        times = self.model_dump(exclude={"replicas", "relaxation"})
        return Sampling(**times, friction=1.0 / self.relaxation)


class TrainingTable(Document):
    """`[training]`: how the potential is moved; `floor` is added in square to the errors of the reference.

    With `pressure` the loss of each dataset has one more term, ((P − pressure) / pressure_error)². With
    `loss = "forces"` a round is `steps` batches of `batch_size` frames, and Adam moves with each.
    """

    rounds: Annotated[int, Field(ge=2)] = 9
    steps: PositiveInt = 2
    effective: Part = 0.6
    damping: PositiveFloat = 3e-4
    iterations: PositiveInt = 12
    floor: PositiveFloat = 0.01
    method: Method | None = None  # newton for pair networks, frames for the others
    rate: PositiveFloat = 1e-3
    patience: NonNegativeInt = 0
    loss: Loss = "chi2"  # in units of the errors of the reference, all bins alike, or of forces on the particles
    batch_size: PositiveInt = 8  # of forces
    pressure: MatchedPressure | None = None  # to be matched besides
    pressure_error: Pressure = 50.0  # what a deviation is measured in
    plane: bool = False  # the pressure along x and y only

    @model_validator(mode="after")
    def _says_what_its_loss_needs(self) -> "TrainingTable":
        """Refuse settings that the loss has no use for, and forces without a length."""
        given = self.model_fields_set
        if self.pressure is None and (useless := sorted(given & {"pressure_error", "plane"})):
            raise ValueError(f'{", ".join(useless)}: needs a pressure, such as pressure = "barostat" or "1 bar"')
        if not self.pressure_error > 0:
            raise ValueError("pressure_error must be positive")
        if self.loss != "forces":
            if "batch_size" in given:
                raise ValueError('batch_size is for loss = "forces"')
            return self
        if useless := sorted(given & _AVERAGES):
            raise ValueError(f'{", ".join(useless)}: loss = "forces" has no use for it; batches of Adam have a rate')
        if not {"rounds", "steps"} <= given:
            raise ValueError(
                'loss = "forces" needs rounds and steps: how many batches in each round, such as 40 and 50'
            )
        return self

    def training(self, kind: str) -> Training:
        """Return what the trainer on averages takes for a potential of this kind."""
        given = self.model_dump(exclude={"floor", "loss", "batch_size", "pressure", "pressure_error", "plane"})
        return Training(**given | {"method": self.method or ("newton" if kind == "pair" else "frames")})


class BaselineTable(Document):
    """`[baseline]`: iterative Boltzmann inversion, or inverse Monte Carlo, at one of the training datasets."""

    dataset: str
    method: Literal["ibi", "imc"] = "ibi"
    iterations: NonNegativeInt = 8


class ValidationTable(Document):
    """`[validation]`: how the models are sampled, and the largest rmsd of g that counts as agreement."""

    tolerance: PositiveFloat
    equilibrate: Time = 5.0
    duration: Time = 40.0
    area: Literal["fixed", "free"] = "fixed"  # of bilayers: that of the reference, or as it comes out without tension


class FitFile(Document):
    """A fit; `split` and `spec` are paths seen from the folder of the file."""

    name: Name
    split: str
    spec: str
    seed: NonNegativeInt = 0
    potential: PotentialTable
    sampling: SamplingTable = SamplingTable()
    training: TrainingTable = TrainingTable()
    baseline: BaselineTable | None = None
    validation: ValidationTable

    @model_validator(mode="after")
    def _molecules_begin_as_their_baseline(self) -> "FitFile":
        """Refuse what potentials of molecules do not have."""
        if self.potential.kind == "molecular" and self.baseline is not None:
            raise ValueError('baseline: kind = "molecular" begins as an inversion, which is validated beside it')
        if self.potential.kind == "molecular" and self.training.loss == "forces":
            raise ValueError('loss = "forces" is for free particles; forces of molecules: cgstore.force_matching')
        return self
