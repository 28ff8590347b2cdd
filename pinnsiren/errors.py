"""Exceptions and warnings of the package, split by whose fault it is.

A `ProblemError` is a mistake in a declaration, a `CompileError` a declaration that is sound but not supported, a `TrainingError` a run that
cannot go on. All share `PinnsirenError`, so that one `except` catches whatever the package raises on purpose.
"""


class PinnsirenError(Exception):
    """Base of every error that the package raises on purpose."""


class ProblemError(PinnsirenError):
    """A declaration or a setting contradicts itself, is incomplete or has values outside their range."""


class UnknownNameError(PinnsirenError):
    """A name (problem, field, face, activation) is not among the known ones; the message lists them."""


class CompileError(PinnsirenError):
    """A sound declaration that no rewrite, method or program supports."""


class TrainingError(PinnsirenError):
    """A run cannot start or go on: device absent, memory exhausted, checkpoint of another run."""


class NonFiniteError(TrainingError):
    """A residual is NaN or infinite; the training loop turns it into a status and keeps the last good model.

    Args:
        what: what is not finite, such as "the residual of `equation 0`".
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is NaN or infinite; check its coefficients for a division by zero, an overflow or a root of a negative number")


class StorageError(PinnsirenError):
    """A file is damaged, foreign, or written by a newer version of the package."""


class ReferenceSolverError(PinnsirenError):
    """No reference solver supports the problem, or the discrete system has no solution."""


class EvaluationError(PinnsirenError):
    """A solution was asked for something that it does not hold, such as an unknown coordinate."""


class PinnsirenWarning(UserWarning):
    """Base of the package's warnings."""


class EvaluationWarning(PinnsirenWarning):
    """A solution was evaluated outside the declared domain."""


class ProblemWarning(PinnsirenWarning):
    """A declaration is accepted but probably not what was meant."""
