"""FIT.toml of a model of simple liquids: which table, which networks, and what they must reach.

Nothing here needs torch.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from cgstore.documents import Document
from cgstore.learn.liquid.features import Scaling
from cgstore.learn.settings import Name, Part
from cgstore.plain_files import read_plain

__all__ = ["KIND", "LiquidFit", "is_liquid_fit"]

KIND = "liquid_state"
_MOST_BYTES = 2**22


class ModelTable(Document):
    """`[model]`: which table of the store is learned from, and the networks."""

    kind: Literal["liquid_state"]
    table: str
    rdf: str = "rdf"  # columns of the table
    parameters: str = "parameters"
    scaling: Scaling = "contact"
    components: PositiveInt = 8  # principal components of g
    hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (32, 32)
    members: PositiveInt = 5


class TrainingTable(Document):
    """`[training]`: how often the networks see the rows, and with how much noise beside that of the rows."""

    epochs: PositiveInt = 400
    batch_size: PositiveInt = 64
    rate: PositiveFloat = 3e-3
    noise: NonNegativeFloat = 4.0  # times the errors at most; 4 makes runs 17 times shorter


class ValidationTable(Document):
    """`[validation]`: the largest mean relative error of σ and of ε, and of the coverage of intervals."""

    tolerance: Part = 0.044
    coverage: Part = 0.05


class LiquidFit(Document):
    """A fit of the kind `liquid_state`; `split` is a path seen from the folder of the file."""

    name: Name
    split: str
    seed: NonNegativeInt = 0
    model: ModelTable
    training: TrainingTable = TrainingTable()
    validation: ValidationTable = ValidationTable()


def is_liquid_fit(file: str | Path) -> bool:
    """Tell whether a FIT.toml, or the fit.toml of a folder, is of this kind; of what cannot be read it is not said."""
    path = Path(file)
    try:
        content = tomllib.loads(read_plain(path / "fit.toml" if path.is_dir() else path, most=_MOST_BYTES).decode())
    except (OSError, ValueError):
        return False
    model = content.get("model")
    return isinstance(model, dict) and model.get("kind") == KIND
