"""Rivals of a fit: scalars far from those that were found and that explain the observations as well.

A speed of which only one instant was seen is known up to whole periods, and a squared one up to its sign. Gauss-Newton sees the curvature of one
valley and calls it a standard error; the other valleys that the scan of the bounds has met are followed to their bottoms too. Input: the scan, and
fits from its valleys. Output: the rivals, and what they mean for the error.

Reference: Bard (1974), Nonlinear Parameter Estimation, section 7, for the ratio of likelihoods.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinnsiren.language.symbols import declaration_of

MOST_RIVALS = 3
NEIGHBOURS = 2  # per scalar: a candidate with the least misfit among so many nearest ones is the bottom of a valley
APART = 1e-2  # relative: nearer fits from the scan lie in one valley
NOT_WORSE = 3.0  # times the merit of the best, or a tenth of the data: coarse sizes err differently at different scalars
HOPELESS = 0.1
LIKELY = 16.0  # the ratio of likelihoods at four standard deviations

Scalars = tuple[complex, ...]


def valleys_of(scanned: Sequence[tuple[float, Scalars]]) -> list[Scalars]:
    """Return the candidates of a scan, given with their misfits, that have the least misfit among their neighbours, the best ones first."""
    values = np.array([candidate for _, candidate in scanned]).real
    misfits = np.array([misfit for misfit, _ in scanned])
    places = np.argsort(np.argsort(values, axis=0), axis=0)  # ranks, since candidates are spread by ratio or by difference
    nearest = np.argsort(np.abs(places[:, None] - places[None]).sum(axis=2), axis=1, kind="stable")[:, : 1 + NEIGHBOURS * values.shape[1]]
    is_bottom = misfits <= np.min(misfits[nearest], axis=1)
    bottoms = [pair for pair, lowest in zip(scanned, is_bottom, strict=True) if lowest]
    return [scalars for _, scalars in sorted(bottoms, key=lambda pair: pair[0])[: MOST_RIVALS + 1]]


def distance_of(first: Scalars, second: Scalars) -> float:
    """Return the largest relative distance of two sets of scalars."""
    return max(abs(a - b) / max(abs(a), abs(b), 1e-300) for a, b in zip(first, second, strict=True))


def rivals_of(refined: Sequence[tuple[float, Scalars]], best: Scalars) -> tuple[Scalars, ...]:
    """Return the scalars of refined fits, given with their merits, that lie apart from the chosen and explain about as much."""
    limit, found = max(NOT_WORSE * min(merit for merit, _ in refined), HOPELESS), [best]
    for merit, scalars in sorted(refined, key=lambda pair: pair[0]):
        if merit <= limit and min(distance_of(scalars, other) for other in found) > APART:
            found.append(scalars)
    return tuple(found[1 : MOST_RIVALS + 1])


def explains_as_well(misfit: float, best: float, n_data: int, noise: float) -> bool:
    """Whether data of so much noise leave open which of two misfits, all relative root mean squares, is that of the truth."""
    return n_data * (misfit**2 - best**2) <= LIKELY * max(noise, best) ** 2


def rival_words(unknowns: Sequence[Any], rivals: Sequence[Scalars]) -> str:
    """Return a sentence that names the rivals; empty without any."""
    if not rivals:
        return ""
    parts = [
        ", ".join(f"`{declaration_of(u).name}` = {value:.5g}" for u, value in zip(unknowns, (v if v.imag else v.real for v in rival), strict=True))
        for rival in rivals
    ]
    return f". The observations are explained as well by {'; or by '.join(parts)}: add observations that tell them apart, or narrow the bounds"


def as_array(rivals: Sequence[Scalars], n_scalars: int) -> NDArray[np.float64]:
    """Return rivals as numbers to store, (n_rivals, n_scalars, 2)."""
    return np.array([[(value.real, value.imag) for value in rival] for rival in rivals]).reshape(len(rivals), n_scalars, 2)


def from_array(stored: NDArray[np.float64]) -> tuple[Scalars, ...]:
    """Rebuild rivals."""
    return tuple(tuple(complex(*pair) for pair in rival) for rival in np.asarray(stored))
