"""The one error tree.

::

    SlimeError
    ├── InputError        a file, folder or array the user gave is missing, broken or of the wrong kind
    │   └── InputProblems several of them at once, one line each
    ├── ConfigError       an unknown key, preset or a value out of range
    ├── ModelError        a diffusion checkpoint that cannot be found or read
    ├── ArtifactError     a part-embedding file that is damaged or belongs to another model
    ├── OutputError       a place that cannot be written
    └── UnknownPlugin     no backbone, flow, propagator or renderer of that name

Every message is one line and says what is wrong, where, and what to do. Libraries raise; only a cli prints and exits
(status 2 for everything in this tree, 1 for anything else).
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
    """Base of everything this project raises on purpose."""


class InputError(SlimeError):
    """A file, folder or array the user gave is missing, broken or of the wrong kind."""


class InputProblems(InputError):
    """Several problems of the user's files, found in one pass.

    Parameters
    ----------
    problems : sequence of str
        One line each: what, where, what to do.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))

    def lines(self, most: int = 20) -> list[str]:
        """The first problems, and how many more there are."""
        more = len(self.problems) - most
        return [*self.problems[:most], *([f"... and {more} more problems"] if more > 0 else [])]


class ConfigError(SlimeError):
    """An unknown key, preset or a value out of range."""


class ModelError(SlimeError):
    """A diffusion checkpoint that cannot be found or read."""


class ArtifactError(SlimeError):
    """A part-embedding file that is damaged or belongs to another model."""


class OutputError(SlimeError):
    """A place that cannot be written."""


class UnknownPlugin(SlimeError):
    """No backbone, flow, propagator or renderer of that name."""
