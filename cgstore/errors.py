"""The errors of cgstore: one tree, each also the builtin a caller would catch.

    CgstoreError                      exit 1
    ├── InputError    (ValueError)    exit 2   a recipe, mapping, spec, split, unit or trajectory is wrong
    ├── NotFound      (KeyError)      exit 2   a name that the catalog does not know
    ├── PhysicsError  (ValueError)    exit 2   a question without an answer, for example r_max beyond half the box
    ├── StoreError    (OSError)       exit 1
    │   ├── IntegrityError            exit 1   bytes of the store are lost or changed
    │   └── ConflictError             exit 1   somebody else published the same version first
    ├── MissingExtra  (ImportError)   exit 1   an optional package is not installed
    └── EngineFailure                 exit 1   an engine of simulations gave up on a system

A message says where, what was found, what was expected and what to do.
"""

__all__ = [
    "CgstoreError",
    "ConflictError",
    "EngineFailure",
    "InputError",
    "IntegrityError",
    "MissingExtra",
    "NotFound",
    "PhysicsError",
    "StoreError",
]


class CgstoreError(Exception):
    """Base of every error that cgstore raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(CgstoreError, ValueError):
    """A file or value given by the user is wrong."""

    exit_code = 2


class NotFound(CgstoreError, KeyError):
    """A name is not in the catalog, the dataset or the file."""

    exit_code = 2

    def __str__(self) -> str:
        """Give the message without the quotes that KeyError puts around it."""
        return str(self.args[0]) if self.args else ""


class PhysicsError(CgstoreError, ValueError):
    """The question has no answer for these data."""

    exit_code = 2


class StoreError(CgstoreError, OSError):
    """The store cannot be read or written."""


class IntegrityError(StoreError):
    """Bytes of the store are lost or not what the manifest says."""


class ConflictError(StoreError):
    """Another writer published first."""


class MissingExtra(CgstoreError, ImportError):
    """An optional package is missing; the message names it and the extra that brings it."""

    @classmethod
    def of(cls, package: str, *, extra: str, purpose: str) -> "MissingExtra":
        """Make the one-line message: what is missing, why it is needed, how to get it."""
        return cls(f'{purpose} needs {package}, which is not installed; pip install "cgstore[{extra}]"')


class EngineFailure(CgstoreError):
    """An engine gave up on one system, which a campaign marks as failed."""
