"""FIT.toml: what a fit learns from, which potential, how it samples and trains, and what it must reach.

Nothing here needs torch.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from cgstore.documents import Document, Length, Time

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


class AngularTable(Document):
    """`[potential.angular]`: what atomic networks see of angles; see `cgstore.learn.angular`."""

    cutoff: Length
    widths: PositiveInt = 2  # Gaussians of the distance
    powers: tuple[Annotated[int, Field(ge=1, le=8)], ...] = (1, 2, 4)  # of 1 ± cos θ


class PotentialTable(Document):
    """`[potential]`: the network of `PairNetwork`, or with `kind = "atomic"` that of `AtomicNetwork`."""

    kind: Literal["pair", "atomic"] = "pair"
    cutoff: Length
    spacing: Length = 0.002  # of pair networks
    features: Annotated[int, Field(ge=3)] = 24  # Gaussians of the distance, or radial functions of each neighbour
    hidden: tuple[PositiveInt, ...] = (32, 32)
    angular: AngularTable | None = None  # of atomic networks
    inputs: tuple[Literal["temperature", "density"], ...] = ()  # what atomic networks are told of a system
    start: Start = "prior"  # what atomic networks begin as: that alone, or pair potentials besides
    start_iterations: PositiveInt = 3  # of "ibi" and "imc"

    @model_validator(mode="after")
    def _networks_of_pairs_start_from_nothing(self) -> "PotentialTable":
        """Refuse what only networks of atoms have."""
        if self.kind == "pair" and (self.inputs or self.angular or self.start != "prior"):
            raise ValueError('inputs, angular and start are for kind = "atomic"')
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

    With `loss = "forces"` a round is `steps` batches of `batch_size` frames, and Adam moves with each.
    """

    rounds: Annotated[int, Field(ge=2)] = 9
    steps: PositiveInt = 2
    effective: Part = 0.6
    damping: PositiveFloat = 3e-4
    iterations: PositiveInt = 12
    floor: PositiveFloat = 0.01
    method: Method | None = None  # frames for atomic networks, newton for pair networks
    rate: PositiveFloat = 1e-3
    patience: NonNegativeInt = 0
    loss: Loss = "chi2"  # in units of the errors of the reference, all bins alike, or of forces on the particles
    batch_size: PositiveInt = 8  # of forces

    @model_validator(mode="after")
    def _says_what_its_loss_needs(self) -> "TrainingTable":
        """Refuse settings that the loss has no use for, and forces without a length."""
        given = self.model_fields_set
        if self.loss != "forces":
            if "batch_size" in given:
                raise ValueError('batch_size is for loss = "forces"')
            return self
        if useless := sorted(given & {"effective", "damping", "iterations", "floor", "method"}):
            raise ValueError(f'{", ".join(useless)}: loss = "forces" has no use for it; batches of Adam have a rate')
        if not {"rounds", "steps"} <= given:
            raise ValueError(
                'loss = "forces" needs rounds and steps: how many batches in each round, such as 40 and 50'
            )
        return self

    def training(self, kind: str) -> Training:
        """Return what the trainer on averages takes for a potential of this kind."""
        given = self.model_dump(exclude={"floor", "loss", "batch_size"})
        return Training(**given | {"method": self.method or ("frames" if kind == "atomic" else "newton")})


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
