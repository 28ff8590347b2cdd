"""Conditions: what must hold besides the equations, and where.

Input: fields and expressions. Output: `ConditionResidual` records, which is all that the compiler sees of most conditions; the absorbing layer is
the exception, it is a rewrite of the problem.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from pinnsiren.errors import ProblemError
from pinnsiren.language.domains import AbstractDomain, Box, SpaceTime
from pinnsiren.language.entries import array_entry, check_entries_finite, equation_entry, number_entry, scalar_entry
from pinnsiren.language.locations import ON_BOUNDARY, Location, Region, regions_of, space_of
from pinnsiren.language.operators import TIME_NAME, NormalComponent, grad, normal
from pinnsiren.language.symbols import declaration_of, is_field

TIME_CONVENTIONS = ("+", "-")


@dataclass(frozen=True)
class ConditionResidual:
    """An expression that must vanish on a region, optionally after subtraction of measured values."""

    label: str
    expression: Any
    region: Region
    values: NDArray[Any] | None = dataclass_field(default=None, compare=False)
    noise: float | None = None
    weights: NDArray[np.float64] | None = dataclass_field(default=None, compare=False)


@dataclass(frozen=True)
class PenaltyRecord:
    """A group of expressions that should be small on a region: weight * mean (Euclidean length of the group)^norm."""

    label: str
    expressions: tuple[Any, ...]
    region: Region
    weight: float | None
    norm: float


class AbstractCondition(ABC):
    """One condition of a problem."""

    @abstractmethod
    def residuals(self, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
        """Return what must vanish, region by region.

        Raises:
            UnknownNameError: a boundary part that the domain does not have.
        """

    def penalties(self, domain: AbstractDomain) -> tuple[PenaltyRecord, ...]:
        """Return what should be small without having to vanish; most conditions have nothing of the kind."""
        del domain
        return ()

    @abstractmethod
    def expressions(self) -> tuple[Any, ...]:
        """Return every expression that the user gave, for checks and storage."""


def _check_is_field(condition: str, candidate: Any) -> None:
    if not is_field(candidate):
        raise ProblemError(f"{condition} was given `{candidate}` where a field is expected; pass a symbol made by `field`")


def _name(candidate: Any) -> str:
    return str(declaration_of(candidate).name)


def _label(kind: str, subject: str, region: Region) -> str:
    place = region.part or {"points": "a point", "cloud": "a cloud of points"}.get(region.kind, "its domain")
    return f"{kind} condition of {subject} on {place}"


@dataclass(frozen=True)
class Dirichlet(AbstractCondition):
    """u = value."""

    field: Any
    value: Any
    on: Location = "boundary"

    def __post_init__(self) -> None:
        _check_is_field("Dirichlet", self.field)
        object.__setattr__(self, "value", scalar_entry(f"the Dirichlet condition of `{_name(self.field)}`", self.value))

    def residuals(self, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
        """Return u - value on each region."""
        return tuple(
            ConditionResidual(_label("Dirichlet", _name(self.field), region), self.field - self.value, region)
            for region in regions_of(self.on, domain)
        )

    def expressions(self) -> tuple[Any, ...]:
        """Return field and value."""
        return (self.field, self.value)


def outward_derivative(expression: Any, part: str, domain: AbstractDomain) -> Any:
    """Return the derivative along the outward normal of a boundary part; the faces of a box have a constant normal."""
    space = space_of(domain)
    if isinstance(space, Box) and part in space.boundary_parts():
        axis, side = space.face(part)
        return side * expression.diff(space.coordinates[axis])
    return grad(expression, over=space.coordinates).dot(normal(*space.coordinates))


def _flux_residuals(kind: str, field: Any, a: Any, b: Any, value: Any, on: Location, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
    result = []
    for region in regions_of(on, domain):
        if region.kind == "cloud":
            space = space_of(domain).coordinates
            flux = grad(field, over=space).dot(normal(*space))
            result.append(ConditionResidual(_label(kind, _name(field), region), a * field + b * flux - value, region))
            continue
        if region.part is None:
            raise ProblemError(f"{kind} was given on={on!r}, which has no outward normal; name boundary parts")
        if region.part not in space_of(domain).boundary_parts():
            raise ProblemError(f"{kind} was given on={on!r}, an instant; use InitialCondition({_name(field)}.diff(t), ...)")
        expression = a * field + b * outward_derivative(field, region.part, domain) - value
        result.append(ConditionResidual(_label(kind, _name(field), region), expression, region))
    return tuple(result)


@dataclass(frozen=True)
class Neumann(AbstractCondition):
    """du/dn = value, n the outward normal."""

    field: Any
    value: Any
    on: Location = "boundary"

    def __post_init__(self) -> None:
        _check_is_field("Neumann", self.field)
        object.__setattr__(self, "value", scalar_entry(f"the Neumann condition of `{_name(self.field)}`", self.value))

    def residuals(self, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
        """Return du/dn - value on each boundary part."""
        return _flux_residuals("Neumann", self.field, sp.Integer(0), sp.Integer(1), self.value, self.on, domain)

    def expressions(self) -> tuple[Any, ...]:
        """Return field and value."""
        return (self.field, self.value)


@dataclass(frozen=True)
class Robin(AbstractCondition):
    """a u + b du/dn = value, n the outward normal."""

    field: Any
    a: Any
    b: Any
    value: Any
    on: Location = "boundary"

    def __post_init__(self) -> None:
        _check_is_field("Robin", self.field)
        for name in ("a", "b", "value"):
            object.__setattr__(self, name, scalar_entry(f"{name} of the Robin condition of `{_name(self.field)}`", getattr(self, name)))
        if self.a == 0 and self.b == 0:
            raise ProblemError(f"the Robin condition of `{_name(self.field)}` has a = b = 0, which prescribes nothing; give a or b a value")

    def residuals(self, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
        """Return a u + b du/dn - value on each boundary part."""
        return _flux_residuals("Robin", self.field, self.a, self.b, self.value, self.on, domain)

    def expressions(self) -> tuple[Any, ...]:
        """Return field, both coefficients and value."""
        return (self.field, self.a, self.b, self.value)


@dataclass(frozen=True)
class Periodic(AbstractCondition):
    """u and its derivative along an axis agree on the two opposite faces of a box: u(low) = u(high), u_x(low) = u_x(high).

    Coefficients and sources that do not continue periodically are allowed; the second derivative then jumps where the faces meet.

    Args:
        field: the field.
        axis: spatial coordinate of the field, or its name; a symbol after construction.

    Raises:
        ProblemError: an axis that is no coordinate of the field.
    """

    field: Any
    axis: Any

    def __post_init__(self) -> None:
        _check_is_field("Periodic", self.field)
        found = [symbol for symbol in self.field.args if self.axis in (symbol, str(symbol))]
        if not found:
            known = ", ".join(f"`{symbol}`" for symbol in self.field.args)
            raise ProblemError(f"Periodic of `{_name(self.field)}` was given axis={self.axis!r}; expected one of its coordinates {known}, or a name")
        object.__setattr__(self, "axis", found[0])

    def faces(self, domain: AbstractDomain) -> tuple[str, str]:
        """Return the names of the lower and the upper face.

        Raises:
            ProblemError: a domain without opposite faces, or the time as axis.
        """
        space = space_of(domain)
        if isinstance(domain, SpaceTime) and self.axis == domain.time:
            raise ProblemError(f"Periodic of `{_name(self.field)}` was given the time `{self.axis}`; expected a coordinate of the space {space}")
        if not isinstance(space, Box) or self.axis not in space.coordinates:
            raise ProblemError(
                f"Periodic of `{_name(self.field)}` along `{self.axis}` was declared on {space}; expected a Box or Interval with that coordinate, "
                "which has two opposite faces"
            )
        return f"{self.axis}-", f"{self.axis}+"

    def residuals(self, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
        """Return u and du/dx on the pair of faces; what must vanish is their difference between the two."""
        lower, upper = self.faces(domain)
        region = Region("pair", part=lower, opposite=upper)
        return tuple(
            ConditionResidual(f"periodic condition of {subject} on {lower} and {upper}", expression, region)
            for subject, expression in ((_name(self.field), self.field), (f"d{_name(self.field)}/d{self.axis}", self.field.diff(self.axis)))
        )

    def expressions(self) -> tuple[Any, ...]:
        """Return the field."""
        return (self.field,)


@dataclass(frozen=True)
class InitialCondition(AbstractCondition):
    """expression = value at the first instant; the expression is the field or its time derivative `u.diff(t)`."""

    expression: Any
    value: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "expression", scalar_entry("InitialCondition", self.expression))
        object.__setattr__(self, "value", scalar_entry(f"the initial value of `{self.expression}`", self.value))
        if not any(is_field(node) for node in self.expression.atoms(sp.Function)):
            raise ProblemError(f"InitialCondition was given `{self.expression}`, which holds no field; pass u or u.diff(t)")

    @property
    def time_order(self) -> int:
        """Order of the time derivative that is prescribed."""
        orders = [sum(int(count) for _, count in node.variable_count) for node in self.expression.atoms(sp.Derivative)]
        return max(orders, default=0)

    def residuals(self, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
        """Return expression - value at the first instant."""
        if not isinstance(domain, SpaceTime):
            raise ProblemError(f"an initial condition was declared on {domain}, which has no time; use SpaceTime(space, {{t: (0, T)}})")
        strangers = {symbol for node in self.expression.atoms(sp.Derivative) for symbol, _ in node.variable_count} - {domain.time}
        if strangers:
            raise ProblemError(
                f"InitialCondition was given `{self.expression}`, a derivative along {', '.join(sorted(map(str, strangers)))}; expected the field or "
                f"its derivative along the time `{domain.time}`. The value determines its derivatives in space"
            )
        region = Region("part", part=f"{domain.time}-")
        return (ConditionResidual(f"initial condition of {self.expression}", self.expression - self.value, region),)

    def expressions(self) -> tuple[Any, ...]:
        """Return expression and value."""
        return (self.expression, self.value)


@dataclass(frozen=True)
class PML(AbstractCondition):
    """Perfectly matched layer AROUND the declared box: dx is stretched by e = 1 - i strength (d / width)^2, d the depth.

    Coefficients and data continue into the layer as constants along its normal; errors are counted inside the declared box only. Waves in time,
    whose field may be real, have no single frequency to tune a stretch to: there a layer says that nothing returns through its faces, and width and
    strength play no part.

    Args:
        field: the complex field; real ones are allowed where a coordinate is the time `t`.
        width: thickness, physical units; one wavelength when None.
        strength: dimensionless; chosen for a reflection of 1e-8 at normal incidence when None.
        on: faces that carry the layer.
        time_convention: `"+"` for exp(+i w t), the default; `"-"` conjugates the stretch.

    Raises:
        ProblemError: a real field, a width or strength that is not positive.
    """

    field: Any
    width: float | None = None
    strength: float | None = None
    on: Location = "boundary"
    time_convention: str = "+"

    def __post_init__(self) -> None:
        _check_is_field("PML", self.field)
        if not declaration_of(self.field).is_complex and not any(symbol.name == TIME_NAME for symbol in self.field.args):
            raise ProblemError(f"PML was given the real field `{_name(self.field)}`; a stretched field is complex: declare it with complex=True")
        for name in ("width", "strength"):
            value = getattr(self, name)
            if value is None:
                continue
            value = number_entry(f"{name} of the PML of `{_name(self.field)}`", value)
            object.__setattr__(self, name, value)
            if not (np.isfinite(value) and value > 0):
                raise ProblemError(f"PML of `{_name(self.field)}` was given {name}={value:g}; expected a positive number or None")
        if self.time_convention not in TIME_CONVENTIONS:
            raise ProblemError(f"PML was given time_convention={self.time_convention!r}; expected one of {TIME_CONVENTIONS}")

    @property
    def sign(self) -> int:
        """Sign of the imaginary part of the stretch: -1 for exp(+i w t)."""
        return -1 if self.time_convention == "+" else 1

    def faces(self, domain: AbstractDomain) -> tuple[str, ...]:
        """Return the names of the faces that carry the layer."""
        regions = regions_of(self.on, domain)
        if any(region.part not in space_of(domain).boundary_parts() for region in regions):
            raise ProblemError(f"PML of `{_name(self.field)}` was given on={self.on!r}; expected a face such as \"x-\", a tuple or \"boundary\"")
        return tuple(region.part for region in regions if region.part is not None)

    def residuals(self, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
        """Return nothing: the layer is a rewrite of the problem."""
        return ()

    def expressions(self) -> tuple[Any, ...]:
        """Return the field."""
        return (self.field,)


@dataclass(frozen=True)
class Observations(AbstractCondition):
    """Measured values of an expression at scattered points.

    Args:
        expression: expression in fields, such as `u` or `u.diff(x)`.
        points: (n_points, n_coordinates) or (n_shots, n_points, n_coordinates), columns in the order of the field's coordinates.
        values: (n_points,) or (n_shots, n_points).
        noise: standard deviation of the noise relative to the root mean square of the values. None: not known, it is found with the solution. 0: the
            values are exact, and whatever a solution leaves of them counts as its error.
        weights: (n_points,), relative weights.

    Raises:
        ProblemError: shapes that do not match, or entries that are not finite.
    """

    expression: Any
    points: ArrayLike = dataclass_field(compare=False)
    values: ArrayLike = dataclass_field(compare=False)
    noise: float | None = None
    weights: ArrayLike | None = dataclass_field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "expression", scalar_entry("Observations", self.expression))
        points, values = array_entry("points of Observations", self.points), array_entry("values of Observations", self.values)
        if points.ndim not in (2, 3) or points.dtype.kind != "f" or not points.size:
            expected = "(n, n_coordinates) or (shots, n, n_coordinates), real and not empty"
            raise ProblemError(f"Observations were given points of shape {points.shape}; expected {expected}")
        if values.ndim not in (1, 2) or values.shape[-1] != points.shape[-2]:
            shapes = f"values of shape {values.shape} for points of shape {points.shape}"
            raise ProblemError(f"Observations were given {shapes}; expected one value per point")
        check_entries_finite("points of Observations", points)
        check_entries_finite("values of Observations", values)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "values", values)
        if self.weights is not None:
            weights = array_entry("weights of Observations", self.weights)
            if weights.shape != values.shape[-1:] or weights.dtype.kind != "f":
                raise ProblemError(f"Observations were given weights of shape {weights.shape}; expected {values.shape[-1:]}, one per point")
            check_entries_finite("weights of Observations", weights)
            if np.any(weights < 0):
                raise ProblemError(f"Observations were given the weight {weights.min():g}; expected numbers that are not negative")
            object.__setattr__(self, "weights", weights)
        if self.noise is not None and not 0 <= number_entry("noise of Observations", self.noise) < np.inf:
            raise ProblemError(f"Observations were given noise={self.noise}; expected a number that is not negative, or None")

    def __eq__(self, other: object) -> bool:
        """Two sets of observations are equal when expression, noise and all numbers are."""
        if not isinstance(other, Observations):
            return NotImplemented
        mine, theirs = ((item.points, item.values, item.weights) for item in (self, other))
        same = all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(mine, theirs, strict=True))
        return (self.expression, self.noise) == (other.expression, other.noise) and same

    def residuals(self, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
        """Return expression - values at the points."""
        points = np.asarray(self.points)
        if points.shape[-1] != len(domain.coordinates):
            given = f"points with {points.shape[-1]} columns"
            raise ProblemError(f"Observations were given {given}; the domain has the coordinates {domain.coordinates}: expected one column each")
        inside = domain.contains(points.reshape(-1, points.shape[-1]), ON_BOUNDARY)
        if not np.all(inside):
            first = points.reshape(-1, points.shape[-1])[~inside][0]
            raise ProblemError(f"{int(np.sum(~inside))} observations lie outside the domain {domain}, the first at {first}; move or drop them")
        region = Region("points", points=points)
        values, weights = np.asarray(self.values), None if self.weights is None else np.asarray(self.weights)
        return (ConditionResidual(f"observations of {self.expression}", self.expression, region, values, self.noise, weights),)

    def expressions(self) -> tuple[Any, ...]:
        """Return the observed expression."""
        return (self.expression,)


@dataclass(frozen=True)
class Constraint(AbstractCondition):
    """An expression that must vanish on a location."""

    expression: Any
    on: Location = "boundary"

    def __post_init__(self) -> None:
        object.__setattr__(self, "expression", equation_entry("Constraint", self.expression))

    def residuals(self, domain: AbstractDomain) -> tuple[ConditionResidual, ...]:
        """Return the expression on each region."""
        regions = regions_of(self.on, domain)
        flat = [region for region in regions if region.kind != "cloud"]
        if self.expression.has(NormalComponent) and any(region.part not in space_of(domain).boundary_parts() for region in flat):
            raise ProblemError(f"the constraint `{self.expression}` holds the normal, which on={self.on!r} does not have; name boundary parts")
        return tuple(ConditionResidual(_label("constraint", str(self.expression), region), self.expression, region) for region in regions)

    def expressions(self) -> tuple[Any, ...]:
        """Return the expression."""
        return (self.expression,)
