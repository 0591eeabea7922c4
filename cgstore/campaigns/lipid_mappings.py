"""Mappings of lipids that a campaign file names: each is read with the file, and is that of its lipid."""

import tomllib
from typing import Annotated

from pydantic import AfterValidator

from cgstore.building.membranes import LIPIDS
from cgstore.documents import TextFile, did_you_mean, parse_document
from cgstore.errors import InputError
from cgstore.recipe import MappingFile

__all__ = ["LipidMappings", "mapping_name"]


def _fit(mappings: dict[str, str]) -> dict[str, str]:
    """Check that each mapping is one, and is that of its lipid."""
    for lipid, text in mappings.items():
        if lipid not in LIPIDS:
            raise ValueError(f'found the lipid "{lipid}"{did_you_mean(lipid, LIPIDS)}')
        try:
            found = parse_document(tomllib.loads(text), MappingFile, where=lipid).molecule
        except (InputError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"found no mapping of {lipid}: {error}") from error
        if found != lipid:
            raise ValueError(f'found a mapping of "{found}" for {lipid}')
    return mappings


LipidMappings = Annotated[dict[str, TextFile], AfterValidator(_fit)]  # lipid → file, read as its content


def mapping_name(lipid: str) -> str:
    """Return the name of the mapping file of a lipid in the archive.

    >>> mapping_name("DMPC")
    'dmpc_lipid21'
    """
    return f"{lipid.lower()}_lipid21"
