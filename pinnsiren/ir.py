"""Intermediate representation: what the compiler hands to charts, programs and methods.

A *jet* is one partial derivative of one field, written as a SymPy symbol; a residual is an expression in jets, coordinates and unknown scalars
that must vanish on a region. Coefficient fields that are solved for are numbered behind the fields, and their derivatives are jets as well: a
residual is bilinear when it multiplies the two kinds. Records are frozen; nothing here computes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.language.domains import AbstractDomain
from pinnsiren.language.locations import Region
from pinnsiren.language.problem import Problem
from pinnsiren.language.sources import families_aside
from pinnsiren.language.symbols import declaration_of

MultiIndex = tuple[int, ...]


@dataclass(frozen=True)
class Jet:
    """The partial derivative `orders` of the field with index `field`; behind the fields the coefficient fields are numbered.

    Orders run over all coordinates of the domain; along those that a coefficient field does not depend on they are zero.
    """

    field: int
    orders: MultiIndex

    @property
    def symbol(self) -> sp.Symbol:
        """The SymPy symbol that stands for the jet in residuals."""
        return sp.Symbol(f"jet{self.field}_" + "_".join(map(str, self.orders)))

    @property
    def order(self) -> int:
        """Total order of differentiation."""
        return sum(self.orders)


def unknown_symbol(unknown: Any) -> sp.Symbol:
    """Return the plain symbol that stands for an unknown scalar."""
    return sp.Symbol(f"unknown_{declaration_of(unknown).name}")


def partial_derivative(expression: Any, symbol: sp.Symbol) -> Any:
    """Differentiate by a jet or an unknown scalar; a modulus, conjugate or real part that holds it, along the real direction, or the imaginary one.

    SymPy cannot differentiate `Abs(u)` by a symbol without assumptions; what comes out here serves signs of real fields and sizes of complex ones.
    """
    expression, families = families_aside(expression, symbol)
    if not any(node.has(symbol) for node in expression.atoms(sp.Abs, sp.conjugate, sp.re, sp.im, sp.arg)):
        return sp.diff(expression, symbol).xreplace(families)
    real = sp.Dummy(real=True)
    along = sp.diff(expression.xreplace({symbol: real}), real)
    if along == 0:
        along = -sp.I * sp.diff(expression.xreplace({symbol: sp.I * real}), real)
    return along.xreplace({real: symbol}).xreplace(families)


@dataclass(frozen=True)
class Residual:
    """One scalar expression that must vanish on a region.

    Attributes:
        label: for reports, in the user's words.
        kind: `"equation"`, `"condition"`, `"initial"`, `"interface"` or `"observation"`.
        expression: in jet symbols, coordinates and unknown scalars.
        region: where it must vanish.
        values: measured values to subtract, (n_points,) or (n_shots, n_points).
        noise: relative standard deviation of the values, if known.
        weights: relative weights of the points, (n_points,).
        level_set: for interface residuals, the function whose zero set is the interface.
        given: on boundary parts, points (n_points, n_coordinates) -> values to subtract, (n_points, n_shots); what no expression can say, such as the
            solution at the end of an earlier window in time.
    """

    label: str
    kind: str
    expression: Any
    region: Region
    values: NDArray[Any] | None = dataclass_field(default=None, compare=False)
    noise: float | None = None
    weights: NDArray[np.float64] | None = dataclass_field(default=None, compare=False)
    level_set: Any = None
    given: Callable[[NDArray[np.float64]], NDArray[Any]] | None = dataclass_field(default=None, compare=False)


@dataclass(frozen=True)
class PenaltyTerm:
    """What should be small without having to vanish: weight times the mean of |expressions|^norm, the Euclidean length of the group.

    Attributes:
        label: for reports.
        expressions: the group, in jet symbols, coordinates and unknown scalars.
        region: where the mean is taken.
        weight: relative to the squared misfit of the data in units of its noise; None leaves it to the method.
        norm: exponent, 2 for a quadratic penalty, 1 for total variation.
    """

    label: str
    expressions: tuple[Any, ...]
    region: Region
    weight: float | None
    norm: float


@dataclass(frozen=True)
class ProblemIR:
    """A lowered problem.

    Attributes:
        problem: the rewritten problem that was lowered.
        domain: the computational domain, layers included.
        is_complex: per field, whether its values are complex.
        n_shots: length of the shot axis (1 without shots).
        residuals: everything that must vanish.
        jets: the jets that occur, per field by increasing order.
        unknowns: scalars that are solved for.
        coefficients: coefficient fields that are solved for; the jets of the k-th have the field index `len(is_complex) + k`.
        penalties: what should be small.
        envelope: per field, a SymPy factor that vanishes where homogeneous Dirichlet conditions are satisfied by construction.
        by_construction: labels of the residuals that the envelopes satisfy.
    """

    problem: Problem
    domain: AbstractDomain
    is_complex: tuple[bool, ...]
    n_shots: int
    residuals: tuple[Residual, ...]
    jets: tuple[Jet, ...]
    unknowns: tuple[Any, ...]
    envelope: tuple[Any, ...]
    by_construction: tuple[str, ...]
    coefficients: tuple[Any, ...] = ()
    penalties: tuple[PenaltyTerm, ...] = ()

    @property
    def n_fields(self) -> int:
        """Number of fields; jets with this index or a higher one belong to coefficient fields."""
        return len(self.is_complex)

    @property
    def coordinates(self) -> tuple[sp.Symbol, ...]:
        """Coordinate symbols in the order of the declaration."""
        return self.domain.coordinates

    def initial_values(self) -> dict[sp.Symbol, Any]:
        """Return the declared initial value of every unknown scalar and of every jet of a coefficient field, by symbol."""
        values: dict[sp.Symbol, Any] = {unknown_symbol(unknown): sp.sympify(declaration_of(unknown).initial) for unknown in self.unknowns}
        for jet in self.jets:
            if jet.field >= self.n_fields:
                value = declaration_of(self.coefficients[jet.field - self.n_fields]).initial
                for symbol, order in zip(self.coordinates, jet.orders, strict=True):
                    value = value.diff(symbol, order) if order else value
                values[jet.symbol] = value
        return values


@dataclass(frozen=True)
class LayerRecord:
    """An absorbing layer after its rewrite: per face the edge, the width and the strength of the stretch.

    Attributes:
        field: the stretched field.
        faces: (coordinate index, side, edge, width, strength) per face.
        sign: sign of the imaginary part of the stretch.
        reflection: largest amplitude reflected at normal incidence, exp(-2 k strength width / 3), over the faces.
        tails: relative error of the field by those parts of Gaussian sources that lie inside the layer.
    """

    field: Any
    faces: tuple[tuple[int, int, float, float, float], ...]
    sign: int
    reflection: float
    tails: float = 0.0


@dataclass(frozen=True)
class Addition:
    """A known part of a field: field = unknown part + known part.

    Attributes:
        field: the declared field.
        evaluate: (points (n, d), multi-index) -> values (n, n_shots); total order up to two.
        core: (centre, radius) of each ball in which the known part is not smooth on the scale of the problem.
        text: for `explain`.
    """

    field: Any
    evaluate: Callable[[NDArray[np.float64], MultiIndex], NDArray[Any]] = dataclass_field(compare=False)
    core: tuple[tuple[tuple[float, ...], float], ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Rewritten:
    """A problem after the rewrites, with what is needed to return to the declared fields.

    Attributes:
        original: the declared problem.
        problem: the rewritten problem on the computational domain.
        layers: absorbing layers that were written out.
        additions: known parts of fields.
        factors: (field, SymPy factor): the unknown part of the field is the factor times something smooth.
        applied: (name, reason) of every rewrite.
    """

    original: Problem
    problem: Problem
    layers: tuple[LayerRecord, ...] = ()
    additions: tuple[Addition, ...] = ()
    factors: tuple[tuple[Any, Any], ...] = ()
    applied: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Chart:
    """Local coordinates on which sine features or further network inputs live.

    A feature is window(x) exp(-decay . eta(x)) sin(w . xi(x) + phase), multiplied by the envelope of the field.

    Attributes:
        name: for `explain`.
        reason: why it was proposed.
        coordinates: oscillating coordinates xi, SymPy expressions of the physical ones.
        window: SymPy factor.
        half_lengths: half extent of the chart in units of xi; with the number of features it gives the bandwidth.
        share: features that live here, as a fraction of those on the scaled box.
        redundancy: features per independent function of the bandwidth; None leaves it to the method.
        decays: decaying coordinates eta, SymPy expressions.
        decay_range: rates are drawn from [0, decay_range].
        focus: ((low, high), ...) box where additional collocation points are drawn, or None.
        network_input: SymPy expression that a deep network takes as a further input, or None.
        spectrum: record of `charts.spectra.AbstractSpectrum` that draws the frequencies, or None for a ball of them.
        grading: record of `charts.gradings.AbstractGrading` that draws additional collocation points and scales rows, or None.
    """

    name: str
    reason: str
    coordinates: tuple[Any, ...]
    window: Any
    half_lengths: tuple[float, ...]
    share: float = 1.0
    redundancy: float | None = None
    decays: tuple[Any, ...] = ()
    decay_range: float = 0.0
    focus: tuple[tuple[float, float], ...] | None = None
    network_input: Any = None
    spectrum: Any = None
    grading: Any = None
