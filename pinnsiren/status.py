"""Outcome of a run: a code for programs and a sentence for people.

The text names the constraint that stopped the run and the remedy, so that nobody has to read the source to know what to do next.
"""

from dataclasses import dataclass

CODES = ("success", "tolerance_not_reached", "out_of_time", "non_finite", "interrupted", "out_of_memory")


@dataclass(frozen=True)
class Status:
    """How a run ended.

    Attributes:
        code: one of `CODES`; only `"success"` means that the estimated error is at or below the tolerance.
        text: one or two sentences: the constraint that stopped the run and the remedy.
    """

    code: str
    text: str

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"status code `{self.code}` is unknown; known codes: {', '.join(CODES)}")

    @property
    def success(self) -> bool:
        """Whether the estimated error reached the tolerance."""
        return self.code == "success"

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"
