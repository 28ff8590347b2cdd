"""From the declaration to expressions of jets: how the solvers of nonlinear problems read equations.

Input: a `Problem`. Output: `LoweredEquations`, scalar expressions in the coordinates and in one symbol per derivative of a field (a jet). A complex
field is two real components, u = p + i q, so that equations with |u|^2 or conj(u) differentiate like any other. Fluxes `div(a(u) grad(u))` stay
fluxes: their components become expressions of jets between the nodes. This reading shares nothing with the compiler.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import sympy as sp

from pinnsiren.errors import ReferenceSolverError
from pinnsiren.language import Divergence, Problem, SourceFamily, select_shot
from pinnsiren.language.symbols import declaration_of, is_field, is_unknown


@dataclass(frozen=True)
class Component:
    """One real unknown function.

    Attributes:
        field: index of the field.
        time_order: 0 for the field, 1 for its time derivative (second-order problems as first-order systems).
        factor: 1, or the imaginary unit for the imaginary part of a complex field.
    """

    field: int
    time_order: int
    factor: Any


@dataclass(frozen=True)
class Jet:
    """A derivative in space of one component, on the nodes or between the nodes along axis `half`."""

    component: int
    index: tuple[int, ...]
    half: int | None = None


@dataclass(frozen=True)
class Flux:
    """`mark` stands for the derivative along axis `along` of `component`, an expression of jets between the nodes."""

    mark: Any
    along: int
    component: Any


class JetSymbols:
    """The symbols of the jets, made on demand.

    Args:
        problem: the declaration.
        space: coordinates of the space, in the order of the fields.
        time: the time coordinate, or None.
        time_orders: highest time derivative per field; 0 for steady problems.
    """

    def __init__(self, problem: Problem, space: tuple[Any, ...], time: Any = None, time_orders: tuple[int, ...] | None = None) -> None:
        self.problem, self.space, self.time = problem, space, time
        self.time_orders = time_orders or (0,) * len(problem.fields)
        # In real arithmetic where nothing is complex: then Abs and sign differentiate without conjugates.
        self.is_complex = tuple(bool(declaration_of(f).is_complex) for f in problem.fields)
        self.components = tuple(
            Component(number, level, factor)
            for number in range(len(problem.fields))
            for level in range(max(self.time_orders[number], 1))
            for factor in ((sp.Integer(1), sp.I) if self.is_complex[number] else (sp.Integer(1),))
        )
        self.jets: dict[Any, Jet] = {}
        self._known: dict[Jet, Any] = {}
        # The highest time derivatives, which the equations are solved for.
        self.rates = tuple(sp.Dummy(f"rate{n}", real=True if not c else None) for n, c in enumerate(self.is_complex))

    @property
    def symbols(self) -> tuple[Any, ...]:
        """Space coordinates, then the time if there is one."""
        return self.space if self.time is None else (*self.space, self.time)

    def value(self, number: int, time_order: int, index: tuple[int, ...], half: int | None) -> Any:
        """What stands for a derivative of a field."""
        if self.time is not None and time_order == self.time_orders[number]:
            if any(index) or half is not None:
                raise ReferenceSolverError(f"`{self.problem.name}` differentiates the highest time derivative of `{self._name(number)}` in space")
            return self.rates[number]
        total: Any = sp.Integer(0)
        for position, component in enumerate(self.components):
            if component.field == number and component.time_order == time_order:
                total = total + component.factor * self.symbol(Jet(position, index, half))
        return total

    def symbol(self, jet: Jet) -> Any:
        """The symbol of one jet."""
        if jet not in self._known:
            self._known[jet] = sp.Dummy(f"jet{len(self._known)}", real=True)
            self.jets[self._known[jet]] = jet
        return self._known[jet]

    def lower(self, expression: Any, half: int | None = None) -> Any:
        """The expression with a symbol for every field and derivative of one.

        Raises:
            ReferenceSolverError: an unknown coefficient, or an operator on a field that is no derivative of it.
        """
        expanded = sp.sympify(expression).doit()
        marks: dict[Any, Any] = {}
        for number, field in enumerate(self.problem.fields):
            for node in expanded.atoms(sp.Derivative):
                if node.expr == field:
                    counts = {s: int(c) for s, c in node.variable_count}
                    order = counts.pop(self.time, 0) if self.time is not None else 0
                    marks[node] = self.value(number, order, tuple(counts.get(s, 0) for s in self.space), half)
        lowered = expanded.xreplace(marks)
        lowered = lowered.xreplace({f: self.value(n, 0, (0,) * len(self.space), half) for n, f in enumerate(self.problem.fields) if lowered.has(f)})
        for node in lowered.atoms(sp.Function):
            if is_unknown(node):
                raise ReferenceSolverError(f"the coefficient `{node}` is unknown; it solves forward problems only")
            if is_field(node):
                raise ReferenceSolverError(f"`{self.problem.name}` applies an operator to `{node.func}` that is no derivative of it")
        return lowered

    def jets_in(self, expression: Any) -> list[Any]:
        """The jet symbols of an expression, in a fixed order."""
        return sorted(expression.free_symbols & self.jets.keys(), key=lambda s: (str(self.jets[s]), s.name))

    def _name(self, number: int) -> str:
        return str(declaration_of(self.problem.fields[number]).name)


@dataclass(frozen=True)
class LoweredEquations:
    """One scalar expression per equation, and the fluxes that they name."""

    symbols: JetSymbols
    residuals: tuple[Any, ...]
    fluxes: tuple[Flux, ...] = dataclass_field(default=())

    def derivatives(self) -> list[Any]:
        """Derivatives of everything with respect to everything unknown: what an equation linear in its fields has free of them."""
        marks = [flux.mark for flux in self.fluxes]
        found = []
        for expression in (*self.residuals, *(flux.component for flux in self.fluxes)):
            unknown = [*self.symbols.jets_in(expression), *marks, *self.symbols.rates]
            found += [sp.diff(expression, symbol) for symbol in unknown if expression.has(symbol)]
        return found

    @property
    def is_linear(self) -> bool:
        """Whether every equation is linear in the fields."""
        moving = {*self.symbols.jets, *self.symbols.rates, *(flux.mark for flux in self.fluxes)}
        return not any(sp.simplify(d).free_symbols & moving for d in self.derivatives() if d.free_symbols & moving)

    def orders(self, number: int, equation: int | None = None) -> list[int]:
        """Highest order of differentiation of a field along every axis, fluxes counted as derivatives; of all equations or of one."""
        highest = [0] * len(self.symbols.space)
        chosen = self.residuals if equation is None else (self.residuals[equation],)
        parts = [(e, None) for e in chosen] + [(f.component, f.along) for f in self.fluxes if any(e.has(f.mark) for e in chosen)]
        for expression, along in parts:
            for symbol in self.symbols.jets_in(expression):
                jet = self.symbols.jets[symbol]
                if self.symbols.components[jet.component].field == number:
                    for axis, count in enumerate(jet.index):
                        highest[axis] = max(highest[axis], count + (axis == along))
        return highest


def lower_equations(symbols: JetSymbols, shot: int = 0) -> LoweredEquations:
    """Lower all equations of a problem for one shot.

    Raises:
        ReferenceSolverError: what `JetSymbols.lower` refuses, or another number of equations than fields.
    """
    problem = symbols.problem
    if len(problem.equations) != len(problem.fields):
        raise ReferenceSolverError(f"`{problem.name}` has {len(problem.equations)} equations for {len(problem.fields)} fields; expected one each")
    residuals: list[Any] = []
    fluxes: list[Flux] = []
    for equation in problem.equations:
        chosen = sp.sympify(equation)
        chosen = select_shot(chosen, shot) if chosen.has(SourceFamily) else chosen
        marks: dict[Any, Any] = {}
        for node in _outermost(chosen, Divergence):
            marks[node] = _lower_divergence(node, symbols, fluxes)
        residuals.append(symbols.lower(chosen.xreplace(marks)))
    return LoweredEquations(symbols, tuple(residuals), tuple(fluxes))


def _outermost(expression: Any, head: type) -> list[Any]:
    if isinstance(expression, head):
        return [expression]
    return list(dict.fromkeys(node for argument in expression.args for node in _outermost(argument, head)))


def _lower_divergence(node: Any, symbols: JetSymbols, fluxes: list[Flux]) -> Any:
    """Marks for the components whose coefficients vary; the others become plain derivatives, whose stencils are narrower."""
    total: Any = sp.Integer(0)
    for along, component in zip(node.over, node.flux, strict=True):
        # The value of a complex flux is no real symbol; its expansion holds real jets only.
        if along not in symbols.space or component.has(Divergence) or any(symbols.is_complex):
            total = total + sp.Derivative(component.doit(), along).doit()
            continue
        axis = symbols.space.index(along)
        trial = symbols.lower(component)
        jets = symbols.jets_in(trial)
        plain = all(sp.diff(trial, jet).is_number for jet in jets) and not trial.xreplace(dict.fromkeys(jets, sp.Integer(0))).free_symbols
        if plain or any(sum(symbols.jets[jet].index) > 1 for jet in jets):
            total = total + sp.Derivative(component.doit(), along).doit()
            continue
        mark = sp.Dummy("flux", real=True)
        fluxes.append(Flux(mark, axis, symbols.lower(component, half=axis)))
        total = total + mark
    return total


def time_orders(problem: Problem, time: Any) -> tuple[int, ...]:
    """Highest time derivative of every field over all equations."""
    expanded = [sp.sympify(equation).doit() for equation in problem.equations]
    return tuple(_highest(expanded, field, time) for field in problem.fields)


def _highest(expressions: Iterable[Any], field: Any, time: Any) -> int:
    orders = [0]
    for expression in expressions:
        for node in expression.atoms(sp.Derivative):
            if node.expr == field:
                orders += [int(count) for symbol, count in node.variable_count if symbol == time]
    return max(orders)
