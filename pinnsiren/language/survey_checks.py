"""Checks of a survey: units, positions, time convention. One mistake each, found from what it implies.

    wavelengths across = f L / v,     points per wavelength = v / (f h),     direct wave = (i/4) H_0^(2)(k r)  for exp(+i w t)

Lengths, frequencies and speeds that do not belong together make the model a thousandth of a wavelength or thousands of wavelengths wide; data for
exp(-i w t) have the phase of an incoming wave.

Input: numbers of a survey, or a declared inverse problem. Output: nothing, or a `ProblemError` that says which unit or sign it looks like.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pinnsiren.errors import ProblemError
from pinnsiren.language.conditions import PML, Observations
from pinnsiren.language.declaration import Declaration
from pinnsiren.language.domains import Box
from pinnsiren.language.numeric import evaluate_on
from pinnsiren.language.operators import expand_operators
from pinnsiren.language.sources import GaussianSource, SourceFamily, select_shot
from pinnsiren.language.symbols import declaration_of, is_unknown

Array = NDArray[Any]

# A survey sees a tenth of a wavelength at least, and no two-dimensional survey spans thousands: between lies what is inverted.
FEWEST, MOST = 0.1, 1000.0
THOUSAND = 1000.0
# Of real media, m/s; sampling intervals of real recordings, s.
SLOWEST, FASTEST = 100.0, 15_000.0
LONGEST_INTERVAL = 0.1
# The direct wave of the right sign leaves what is scattered; of the wrong sign next to everything (0.39 and 0.97 for a disc twice as fast).
WRONG_SIGN = 0.7
# Fewer receivers of a shot, or fewer traces beyond the fitted factors, fit any phase.
FEWEST_RECEIVERS, FEWEST_TRACES = 4, 16
# Where a Gaussian source has fallen to 14 %: nearer, a receiver hears the source and not the medium.
DEVIATIONS_APART = 2.0
COINCIDENT = 1e-6  # of the domain, for point sources


def check_units(frequencies: ArrayLike, extent: float, speeds: ArrayLike, *, spacing: float | None = None, interval: float | None = None) -> None:
    """Lengths, times, frequencies and speeds are metres, seconds, Hz and m/s.

    Args:
        frequencies: Hz.
        extent: largest side of the model, metres.
        speeds: of the model, m/s.
        spacing: of the model, metres, for the points per wavelength.
        interval: seconds between samples, where the frequencies come from sampled traces.

    Raises:
        ProblemError: they imply less than a tenth of a wavelength or more than a thousand across the model.
    """
    f, v = np.asarray(frequencies, dtype=float), np.asarray(speeds, dtype=float)
    for name, numbers in (("frequencies", f), ("speeds", v), ("extent", np.asarray(extent, dtype=float))):
        if not numbers.size or not np.all((numbers > 0) & (numbers < np.inf)):
            raise ProblemError(f"a survey was given {name}={numbers}; expected finite positive numbers in SI units")
    fewest, most = float(f.min() * extent / v.max()), float(f.max() * extent / v.min())
    if fewest >= FEWEST and most <= MOST:
        return
    points = "" if spacing is None else f" and {v.min() / (f.max() * spacing):.2g} grid points per wavelength"
    found = (
        f"frequencies from {f.min():g} to {f.max():g} Hz, a model {extent:g} m wide and speeds from {v.min():g} to {v.max():g} m/s imply "
        f"{fewest:.2g} to {most:.2g} wavelengths across{points}; expected {FEWEST:g} to {MOST:g} wavelengths"
    )
    raise ProblemError(f"{found}. {_unit_guess(f, extent, v, interval, most > MOST)}")


def _unit_guess(f: Array, extent: float, v: Array, interval: float | None, too_many: bool) -> str:
    if too_many and v.max() < SLOWEST and v.max() * THOUSAND <= FASTEST:
        return "The speeds look like km/s: multiply them by 1000"
    if too_many and interval is not None and interval < 1e-5:
        return "The sampling interval looks like kiloseconds: multiply it by 1000"
    if too_many:
        return "Are the frequencies in Hz, the lengths in metres and the speeds in m/s?"
    if interval is not None and interval > LONGEST_INTERVAL:
        return f"The sampling interval {interval:g} looks like milliseconds: divide it by 1000, so that all frequencies grow by 1000"
    if extent < THOUSAND / 10 and v.min() >= SLOWEST:
        return "The lengths look like kilometres: multiply them by 1000"
    if f.max() < 0.1:
        return "The frequencies look like kHz, or come from times in milliseconds: expected Hz and seconds"
    return "Are the frequencies in Hz, the lengths in metres and the speeds in m/s?"


def check_wavelengths(wavenumbers: ArrayLike, extent: float, *, name: str = "the survey") -> None:
    """A declared wavenumber and the declared domain belong together, in whatever units.

    Args:
        wavenumbers: w sqrt(m) of the start, per unit of length.
        extent: largest side of the domain.
        name: of the problem, for the message.

    Raises:
        ProblemError: they imply less than a tenth of a wavelength or more than a thousand across the domain.
    """
    across = np.asarray(wavenumbers, dtype=float) * extent / (2 * np.pi)
    if across.max() >= FEWEST and across.min() <= MOST:
        return
    many = across.min() > MOST
    units = "km/s beside metres, or milliseconds beside Hz" if many else "kilometres beside m/s, or kHz beside seconds"
    raise ProblemError(
        f"the domain of {name} is {across.max():.3g} wavelengths across: k = w sqrt(m) = {np.max(wavenumbers):.3g} at the sources, {extent:g} "
        f"wide; expected {FEWEST:g} to {MOST:g}. Lengths, times and speeds look like different systems of units, such as {units}: seismic.Scaling "
        "makes them one"
    )


def check_positions(
    sources: ArrayLike, receivers: ArrayLike, box: ArrayLike, *, layer: float | None = None, deviation: float = 0.0, name: str = "the survey"
) -> None:
    """Sources and receivers lie in the box, not in the layer around it, and not on each other.

    Args:
        sources: (n_shots, 2).
        receivers: (n_receivers, 2), or (n_shots, n_receivers, 2).
        box: ((low, high), (low, high)) per coordinate, the declared domain; layers lie around it.
        layer: width of the layer, to say which positions lie in it; None where it is not known.
        deviation: standard deviation of the sources, 0 for points.
        name: of the problem, for the message.

    Raises:
        ProblemError: some do not.
    """
    limits = np.asarray(box, dtype=float)
    slack = 1e-9 * np.ptp(limits, axis=1)
    at, heard = np.asarray(sources, dtype=float), np.asarray(receivers, dtype=float)
    if not np.all(np.isfinite(at)) or not np.all(np.isfinite(heard)):
        raise ProblemError(f"sources or receivers of {name} have positions that are NaN or infinite: drop these")
    for what, positions in (("receivers", heard.reshape(-1, heard.shape[-1])), ("sources", at)):
        beyond = np.max(np.maximum(limits[:, 0] - slack - positions, positions - limits[:, 1] - slack), axis=1)
        outside = beyond > 0
        if not outside.any():
            continue
        first = _place(positions[outside][0])
        extent = " x ".join(f"[{low:g}, {high:g}]" for low, high in limits)
        if layer is not None and np.all(beyond[outside] <= layer):
            raise ProblemError(
                f"{int(outside.sum())} of {len(positions)} {what} of {name} lie in the absorbing layer, the first at {first}: the layer of width "
                f"{layer:g} "
                f"lies AROUND the declared domain {extent}. Enlarge the domain so that it holds every source and receiver, or drop these"
            )
        raise ProblemError(
            f"{int(outside.sum())} of {len(positions)} {what} of {name} lie outside the domain {extent}, the first at {first}: enlarge the domain, "
            f"drop "
            "these, or see whether coordinates are exchanged or in another unit"
        )
    apart = max(DEVIATIONS_APART * deviation, COINCIDENT * float(np.ptp(limits, axis=1).max()))
    lines = np.broadcast_to(heard, (len(at), *heard.shape[-2:]))
    distance = np.hypot(*np.moveaxis(lines - at[:, None, :], -1, 0))
    if np.any(distance < apart):
        shot, receiver = np.argwhere(distance < apart)[0]
        raise ProblemError(
            f"{int(np.sum(distance < apart))} receivers of {name} coincide with a source, the first is receiver {receiver} of shot {shot} at "
            f"{_place(lines[shot, receiver])}, {distance[shot, receiver]:.3g} away: it hears the source and not the medium. Leave out traces nearer "
            f"than "
            f"{apart:.3g}"
        )


def check_convention(
    values: ArrayLike, sources: ArrayLike, receivers: ArrayLike, wavenumbers: ArrayLike, *, sign: int = 1, name: str = "the survey"
) -> None:
    """The phases of measurements grow as those of outgoing waves of the declared convention do.

    Args:
        values: (n_shots, n_receivers), complex, of one frequency.
        sources: (n_shots, 2).
        receivers: (n_receivers, 2) or (n_shots, n_receivers, 2).
        wavenumbers: beside each source, (n_shots,) or one number.
        sign: 1 for exp(+i w t), -1 for exp(-i w t).
        name: of the problem, for the message.

    Raises:
        ProblemError: the direct wave fits the conjugate of the data much better than the data; one complex factor per shot is fitted.
    """
    data, at, heard = np.asarray(values, dtype=complex), np.asarray(sources, dtype=float), np.asarray(receivers, dtype=float)
    if data.shape[1] < FEWEST_RECEIVERS or len(data) * (data.shape[1] - 1) < FEWEST_TRACES:
        return
    distance = np.hypot(*np.moveaxis(np.broadcast_to(heard, (len(at), *heard.shape[-2:])) - at[:, None, :], -1, 0))
    k = np.broadcast_to(np.asarray(wavenumbers, dtype=float), (len(at),))[:, None]
    direct = special.hankel2(0, k * np.maximum(distance, 1e-12)) if sign > 0 else special.hankel1(0, k * np.maximum(distance, 1e-12))
    as_given, as_conjugate = (_misfit(direct, candidate) for candidate in (data, np.conj(data)))
    if as_conjugate < WRONG_SIGN * as_given:
        declared, other = ("exp(+i w t)", "exp(-i w t)") if sign > 0 else ("exp(-i w t)", "exp(+i w t)")
        raise ProblemError(
            f"the measurements of {name} look conjugated: the direct wave for {declared} misses them by {as_given:.0%}, their complex conjugate by "
            f"{as_conjugate:.0%}. They are for {other}: conjugate them (np.conj), or declare the layer with time_convention="
            f'"{"-" if sign > 0 else "+"}"'
        )


def _misfit(direct: Array, data: Array) -> float:
    """Relative distance of the data from the direct wave, one complex factor per shot fitted."""
    factor = np.sum(np.conj(direct) * data, axis=1) / np.sum(np.abs(direct) ** 2, axis=1)
    size = float(np.linalg.norm(data))
    return float(np.linalg.norm(data - factor[:, None] * direct)) / size if size > 0 else 0.0


def check_declared_surveys(problem: Declaration) -> None:
    """Positions and time convention of every observed field with layers, narrow sources and an unknown medium.

    Raises:
        ProblemError: receivers in the layer, outside, or on a source; measurements for the other time convention.
    """
    if not isinstance(problem.domain, Box) or len(problem.domain.coordinates) != 2:
        return
    for equation in problem.equations:
        if not any(is_unknown(node) and node.args for node in sp.sympify(equation).atoms(sp.Function)):
            continue
        for candidate in problem.fields:
            layer = next((c for c in problem.conditions if isinstance(c, PML) and c.field == candidate), None)
            sources = shot_sources(equation, declaration_of(candidate).shots or 1) if sp.sympify(equation).has(candidate) else None
            if layer is None or sources is None:
                continue
            for condition in problem.conditions:
                if isinstance(condition, Observations) and condition.expression == candidate:
                    _check_one(problem, equation, candidate, layer, sources, condition)


def _check_one(problem: Declaration, equation: Any, candidate: Any, layer: PML, sources: list[Any], observed: Observations) -> None:
    assert isinstance(problem.domain, Box)
    places = [dict(zip(source.coordinates, source.centre, strict=True)) for source in sources]
    at = np.array([[float(place[symbol]) for symbol in candidate.args] for place in places])
    deviation = max(float(sp.sqrt(source.variance)) for source in sources)
    box = [problem.domain.bounds[symbol] for symbol in candidate.args]
    name = f"`{candidate}` in problem `{problem.name}`"
    check_positions(at, np.asarray(observed.points), box, layer=layer.width, deviation=deviation, name=name)
    wavenumbers = start_wavenumbers(problem, equation, candidate, at)
    values = np.asarray(observed.values)
    if not np.any(values):
        raise ProblemError(f"the observations of {name} hold nothing but zeros: no medium answers waves with silence. Are they those of this survey?")
    if wavenumbers is not None:
        check_wavelengths(wavenumbers, max(high - low for low, high in box), name=name)
    if wavenumbers is not None and values.shape == (len(at), values.shape[-1]) and len(layer.faces(problem.domain)) == 4:
        check_convention(values, at, np.asarray(observed.points), wavenumbers, sign=-layer.sign, name=name)


def shot_sources(equation: Any, shots: int) -> list[Any] | None:
    """One Gaussian source per shot, or None where the shots are lit otherwise."""
    expression = sp.sympify(equation)
    if any(len(family.args) != shots for family in expression.atoms(SourceFamily)):
        return None
    found = []
    for shot in range(shots):
        lit = list(select_shot(expression, shot).atoms(GaussianSource))
        if len(lit) != 1 or not all(sp.sympify(number).is_number for number in (*lit[0].centre, lit[0].variance)):
            return None
        found.append(lit[0])
    return found


def start_wavenumbers(problem: Declaration, equation: Any, candidate: Any, at: Array) -> Array | None:
    """Wavenumber of the declared start beside each source; None for another equation than that of Helmholtz."""
    dark = sp.sympify(equation).xreplace({node: sp.Integer(0) for node in sp.sympify(equation).atoms(SourceFamily, GaussianSource)})
    plain = expand_operators(dark)
    starts = {node: declaration_of(node).initial for node in plain.atoms(sp.Function) if is_unknown(node)}
    plain = plain.xreplace(starts)
    second = plain.coeff(sp.Derivative(candidate, (candidate.args[0], 2)))
    reaction = plain.coeff(candidate)
    if second == 0 or reaction == 0 or not sp.sympify(second).is_number:
        return None
    squared = np.real(evaluate_on(reaction / second, problem.domain.coordinates, at))
    return np.sqrt(squared) if np.all(np.isfinite(squared)) and np.all(squared > 0) else None


def _place(position: Array) -> str:
    return "(" + ", ".join(f"{value:g}" for value in position) + ")"
