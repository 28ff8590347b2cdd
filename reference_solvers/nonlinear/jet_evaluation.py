"""Numbers from expressions of jets: values and sparse Jacobians on a tensor grid.

Input: expressions (`jets`), a grid (`tensor_operators`). Output: `GridExpressions`. Jacobians are analytic: SymPy differentiates every expression
with respect to every jet once, and the chain rule multiplies the rows of the difference operators. What is free of the fields and of time is
evaluated once per grid, averaged over cells where it jumps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse
import sympy as sp
from numpy.typing import NDArray
from sympy.core.function import AppliedUndef

from pinnsiren.errors import ReferenceSolverError

from ..evaluation import cell_average, evaluator, flux_average, may_jump
from .jets import Flux, JetSymbols
from .tensor_operators import TensorGrid

Array = NDArray[Any]


class _Function:
    """One expression as a function of a mapping from symbols to arrays, which may be complex; data sampled in time are looked up."""

    def __init__(self, expression: Any, symbols: Sequence[Any]) -> None:
        expression = sp.sympify(expression)
        looked_up = [n for n in expression.atoms(sp.Derivative) if isinstance(n.expr, AppliedUndef)]
        plain = expression.xreplace({node: sp.Dummy("slope") for node in looked_up})
        looked_up += list(plain.atoms(AppliedUndef))
        self._tables = {}
        for node in looked_up:
            used = [s for s in symbols if s in node.free_symbols]
            self._tables[sp.Dummy("table")] = (node, used, evaluator(node, used))
        plain = expression
        for mark, (node, _, _) in self._tables.items():
            plain = plain.xreplace({node: mark})
        self._used = [s for s in symbols if s in plain.free_symbols]
        self._branches = bool(plain.has(sp.Piecewise))
        self._evaluate = sp.lambdify([*self._used, *self._tables], plain, modules=["scipy", "numpy"], cse=True)

    def __call__(self, known: dict[Any, Any], size: int) -> Array:
        arguments = [known[s] for s in self._used]
        arguments += [evaluate(*[known[s] for s in used]) for _, used, evaluate in self._tables.values()]
        if self._branches:
            arguments = [np.broadcast_to(a, (size,)) for a in arguments]
        with np.errstate(all="ignore"):
            values = np.asarray(self._evaluate(*arguments))
        if values.dtype.kind not in "fc":
            values = values.astype(float)
        return np.broadcast_to(values, (size,))


class _Compiled:
    """An expression and its derivatives with respect to jets and flux marks."""

    def __init__(self, expression: Any, symbols: JetSymbols, marks: Sequence[Any], statics: dict[Any, Any]) -> None:
        moving = {*symbols.jets, *marks, *symbols.rates, *([symbols.time] if symbols.time is not None else [])}
        self.derivatives: dict[Any, _Function] = {}
        expression = sp.sympify(expression)
        targets = [*symbols.jets_in(expression), *(m for m in marks if expression.has(m))]
        known: dict[Any, Any] = {}
        arguments = [*symbols.symbols, *marks, *symbols.jets]

        def function(e: Any) -> _Function:
            e = split_static(e, moving, known)
            return _Function(e, [*arguments, *known.values()])

        self.value = function(expression)
        for target in targets:
            slope = sp.diff(expression, target)
            if slope != 0:
                self.derivatives[target] = function(slope)
        self.jets = [t for t in targets if t in symbols.jets]
        statics.update({mark: e for e, mark in known.items()})


def split_static(expression: Any, moving: set[Any], known: dict[Any, Any]) -> Any:
    """The expression with a symbol for each of its largest parts that hold none of the moving symbols, collected in `known`."""
    free = expression.free_symbols
    if not free & moving:
        if expression.is_Symbol or not (free or expression.has(sp.Function)):
            return expression
        return known.setdefault(expression, sp.Dummy(f"static{len(known)}", real=True if expression.is_extended_real else None))
    if expression.is_Symbol or isinstance(expression, (sp.Piecewise, sp.Derivative)):
        return expression
    if expression.is_Add or expression.is_Mul:
        still, rest = expression.as_independent(*(free & moving), as_Add=bool(expression.is_Add))
        parts = rest.args if rest.func == expression.func else (rest,)
        return expression.func(split_static(still, moving, known), *[split_static(a, moving, known) for a in parts])
    return expression.func(*[split_static(a, moving, known) for a in expression.args])


class GridExpressions:
    """Expressions of jets, with their fluxes, bound to a grid.

    Args:
        expressions: one per value wanted; they may hold the marks of `fluxes`.
        fluxes: of `LoweredEquations`.
        symbols: that made the jets.
        grid: where they are evaluated.
        compiled: of another grid, to skip the symbolic work.
    """

    def __init__(self, expressions: Sequence[Any], fluxes: Sequence[Flux], symbols: JetSymbols, grid: TensorGrid, compiled: Any = None) -> None:
        self.grid, self.symbols = grid, symbols
        self.fluxes = [flux for flux in fluxes if any(sp.sympify(e).has(flux.mark) for e in expressions)]
        self.compiled = compiled or self._compile(expressions)
        self._parts, self._flux_parts, self._statics, self._flux_statics = self.compiled
        self._known = {**dict(zip(symbols.space, grid.points(), strict=True)), **{m: self._static(e, None) for m, e in self._statics.items()}}
        self._known_half = []
        for flux, statics in zip(self.fluxes, self._flux_statics, strict=True):
            points = dict(zip(symbols.space, grid.points(flux.along), strict=True))
            self._known_half.append({**points, **{m: self._static(e, flux.along) for m, e in statics.items()}})

    def values(self, components: Sequence[Array], instant: float | None = None) -> list[Array]:
        """One array (n_nodes,) per expression.

        Args:
            components: one real array (n_nodes,) per component.
            instant: the time, if the expressions hold it.
        """
        known = self._environment(components, instant)[0]
        return [part.value(known, self.grid.size) for part in self._parts]

    def jacobians(self, components: Sequence[Array], instant: float | None = None) -> list[dict[int, sparse.csr_matrix]]:
        """Per expression, the sparse derivative with respect to each component that it depends on."""
        known, known_half = self._environment(components, instant)
        inner = [self._chain(part, table, flux.along) for part, table, flux in zip(self._flux_parts, known_half, self.fluxes, strict=True)]
        result = []
        for part in self._parts:
            total = self._chain(part, known, None)
            for flux, blocks in zip(self.fluxes, inner, strict=True):
                if flux.mark in part.derivatives:
                    outer = scaled_rows(self.grid.divergence(flux.along), part.derivatives[flux.mark](known, self.grid.size))
                    for component, block in blocks.items():
                        _add(total, component, outer @ block)
            result.append(total)
        return result

    def _chain(self, part: _Compiled, known: dict[Any, Any], half: int | None) -> dict[int, sparse.csr_matrix]:
        total: dict[int, sparse.csr_matrix] = {}
        for symbol in part.jets:
            if symbol in part.derivatives:
                jet = self.symbols.jets[symbol]
                operator = self.grid.operator(jet.index, half)
                _add(total, jet.component, scaled_rows(operator, part.derivatives[symbol](known, operator.shape[0])))
        return total

    def _environment(self, components: Sequence[Array], instant: float | None) -> tuple[dict[Any, Any], list[dict[Any, Any]]]:
        time = {} if instant is None else {self.symbols.time: instant}
        known = {**self._known, **time}
        half_tables = []
        for flux, part, table in zip(self.fluxes, self._flux_parts, self._known_half, strict=True):
            environment = {**table, **time, **self._jet_values(part.jets, components, flux.along)}
            size = self.grid.divergence(flux.along).shape[1]
            known[flux.mark] = self.grid.divergence(flux.along) @ part.value(environment, size)
            half_tables.append(environment)
        for part in self._parts:
            known.update(self._jet_values([j for j in part.jets if j not in known], components, None))
        return known, half_tables

    def _jet_values(self, jets: Sequence[Any], components: Sequence[Array], half: int | None) -> dict[Any, Array]:
        found = {}
        for symbol in jets:
            jet = self.symbols.jets[symbol]
            values = components[jet.component]
            found[symbol] = values if half is None and not any(jet.index) else self.grid.operator(jet.index, half) @ values
        return found

    def _compile(self, expressions: Sequence[Any]) -> tuple[Any, ...]:
        statics: dict[Any, Any] = {}
        marks = [flux.mark for flux in self.fluxes]
        parts = [_Compiled(e, self.symbols, marks, statics) for e in expressions]
        flux_statics: list[dict[Any, Any]] = [{} for _ in self.fluxes]
        flux_parts = [_Compiled(f.component, self.symbols, [], table) for f, table in zip(self.fluxes, flux_statics, strict=True)]
        return parts, flux_parts, statics, flux_statics

    def _static(self, expression: Any, half: int | None) -> Array:
        evaluate = evaluator(expression, self.symbols.space)
        if not may_jump(expression):
            return np.asarray(evaluate(*self.grid.points(half)))
        axes, widths = self.grid.axes(half), [line.h for line in self.grid.lines]
        averaged = cell_average(evaluate, axes, widths) if half is None else flux_average(evaluate, axes, widths, half)
        return averaged.ravel()


def scaled_rows(matrix: sparse.csr_matrix, factors: Array) -> sparse.csr_matrix:
    """diag(factors) @ matrix."""
    data = matrix.data * np.repeat(factors, np.diff(matrix.indptr))
    return sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def real_part(values: Any, factor: Any, symbols: JetSymbols) -> Any:
    """The part of values or of a sparse matrix that belongs to a component: real, or imaginary where its factor is the imaginary unit.

    Raises:
        ReferenceSolverError: complex values although no field is complex.
    """
    if factor == sp.I:
        return values.imag
    data = np.asarray(getattr(values, "data", values)) if sparse.issparse(values) else values
    if np.iscomplexobj(data) and not any(symbols.is_complex) and np.any(np.abs(data.imag) > 0):
        raise ReferenceSolverError(f"`{symbols.problem.name}` has complex coefficients or data and a real field; declare it with complex=True")
    return values.real


def _add(total: dict[int, sparse.csr_matrix], component: int, block: sparse.csr_matrix) -> None:
    total[component] = total[component] + block if component in total else block
