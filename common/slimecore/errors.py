"""Error classes of the toolkit.

::

    SlimeError
    ├── InputError        a file, folder or array of the user is missing, broken or of the wrong kind
    │   └── InputProblems several problems at once, a line each
    ├── ConfigError       a key or preset is unknown, or a value is out of range
    ├── ModelError        a diffusion checkpoint cannot be found or read
    ├── ArtifactError     a part-embedding file is damaged or belongs to another model
    ├── OutputError       a path cannot be written
    └── UnknownPlugin     no backbone, flow, propagator or renderer has the name

Every message is a single line with problem, location and remedy. Libraries raise. Only command lines print and exit,
with status 2 for these classes and 1 for any other error.
"""

from collections.abc import Sequence

__all__ = [
    "ArtifactError",
    "ConfigError",
    "InputError",
    "InputProblems",
    "ModelError",
    "OutputError",
    "SlimeError",
    "UnknownPlugin",
]


class SlimeError(Exception):
    """Base class of all errors that the toolkit raises on purpose."""


class InputError(SlimeError):
    """A file, folder or array of the user is missing, broken or of the wrong kind."""


class InputProblems(InputError):
    """Several problems of the user's files, found in a single pass.

    Parameters
    ----------
    problems : sequence of str
        A line each: problem, location and remedy.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))

    def lines(self, most: int = 20) -> list[str]:
        """Return the first `most` problems, and a line with the number of the others."""
        more = len(self.problems) - most
        return [*self.problems[:most], *([f"... and {more} more problems"] if more > 0 else [])]


class ConfigError(SlimeError):
    """A key or preset is unknown, or a value is out of range."""


class ModelError(SlimeError):
    """A diffusion checkpoint cannot be found or read."""


class ArtifactError(SlimeError):
    """A part-embedding file is damaged or belongs to another model."""


class OutputError(SlimeError):
    """A path cannot be written."""


class UnknownPlugin(SlimeError):
    """No backbone, flow, propagator or renderer has the name."""
