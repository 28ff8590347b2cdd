"""Sources: heads that keep their meaning, so that a rewrite can recognise a narrow source and a solver can treat it by itself."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import sympy as sp

from pinnsiren.errors import ProblemError
from pinnsiren.language.entries import scalar_entry


class GaussianSource(sp.Function):
    """Gaussian of unit integral times `amplitude`, in as many dimensions as `at` names.

    f = amplitude (2 pi variance)^(-n/2) exp(-|x - at|^2 / (2 variance)).

    Args:
        at: centre, `{x: 0, y: 0}`, physical units.
        variance: square of the standard deviation, physical units squared.
        amplitude: real or complex number or expression.

    Raises:
        ProblemError: a variance that is not positive, an empty centre.

    >>> x = sp.Symbol("x", real=True)
    >>> GaussianSource(at={x: 0}, variance=sp.Rational(1, 2)).doit()
    exp(-x**2)/sqrt(pi)
    """

    nargs = (4,)

    def __new__(cls, *args: Any, at: Mapping[sp.Symbol, Any] | None = None, variance: Any = None, amplitude: Any = 1, **options: Any) -> Any:
        if at is None and len(args) == 4:
            return super().__new__(cls, *args, **options)
        if args or at is None:
            given = ", ".join(map(str, args)) or "no centre"
            raise ProblemError(f"GaussianSource was given {given}; name its arguments: GaussianSource(at={{x: 0, y: 0}}, variance=0.01, amplitude=1)")
        if not isinstance(at, Mapping) or not at or not all(isinstance(symbol, sp.Symbol) for symbol in at):
            raise ProblemError(f"GaussianSource was given at={at!r}; expected a centre such as {{x: 0, y: 0}}")
        if variance is None:
            raise ProblemError("GaussianSource was given no variance; pass variance=sigma**2, in squared units of the coordinates")
        spread = scalar_entry("the variance of a GaussianSource", variance)
        if spread.free_symbols:
            raise ProblemError(f"GaussianSource was given variance={variance}, which depends on {spread.free_symbols}; expected a positive number")
        if spread.is_number and not (spread.is_real and spread > 0 and spread.is_finite):
            raise ProblemError(f"GaussianSource was given variance={variance}; expected a positive number, the square of the standard deviation")
        centre = [scalar_entry(f"the centre of a GaussianSource along `{symbol}`", value) for symbol, value in at.items()]
        for symbol, value in zip(at, centre, strict=True):
            if value.is_number and not (value.is_real and value.is_finite):
                raise ProblemError(f"GaussianSource was given the centre {symbol}={value}; expected a finite real number")
        return super().__new__(cls, sp.Tuple(*at), sp.Tuple(*centre), spread, scalar_entry("the amplitude of a GaussianSource", amplitude), **options)

    @property
    def coordinates(self) -> tuple[Any, ...]:
        """Coordinates in which the source is local."""
        return tuple(self.args[0])

    @property
    def centre(self) -> tuple[Any, ...]:
        """Centre, one value per coordinate."""
        return tuple(self.args[1])

    @property
    def variance(self) -> Any:
        """Square of the standard deviation."""
        return self.args[2]

    @property
    def amplitude(self) -> Any:
        """Integral of the source."""
        return self.args[3]

    def doit(self, **hints: Any) -> Any:
        """Return the plain SymPy expression."""
        squares = sp.Add(*[(symbol - centre) ** 2 for symbol, centre in zip(self.coordinates, self.centre, strict=True)])
        normalisation = (2 * sp.pi * self.variance) ** sp.Rational(-len(self.coordinates), 2)
        return self.amplitude * normalisation * sp.exp(-squares / (2 * self.variance))

    def _eval_derivative(self, symbol: Any) -> Any:
        return self.doit().diff(symbol)


class RickerWavelet(sp.Function):
    """Ricker wavelet (1 - 2 a) exp(-a) with a = (pi frequency (t - delay))^2.

    Args:
        t: the time symbol.
        frequency: peak frequency, cycles per unit of time.
        delay: time of the peak; 1.5 / frequency when not given.

    Raises:
        ProblemError: a frequency that is not positive.
    """

    nargs = (3,)

    def __new__(cls, t: Any, frequency: Any = None, delay: Any = None, **options: Any) -> Any:
        peak = scalar_entry("the frequency of a RickerWavelet", frequency)
        if peak.is_number and not (peak.is_real and peak > 0):
            raise ProblemError(f"RickerWavelet was given frequency={frequency}; expected a positive number of cycles per unit of time")
        start = sp.Rational(3, 2) / peak if delay is None else scalar_entry("the delay of a RickerWavelet", delay)
        if start.is_number and not (start.is_real and start.is_finite):
            raise ProblemError(f"RickerWavelet was given delay={delay}; expected a finite time, or None for 1.5 / frequency")
        return super().__new__(cls, scalar_entry("the time of a RickerWavelet", t), peak, start, **options)

    def doit(self, **hints: Any) -> Any:
        """Return the plain SymPy expression."""
        t, frequency, delay = self.args
        exponent = (sp.pi * frequency * (t - delay)) ** 2
        return (1 - 2 * exponent) * sp.exp(-exponent)

    def _eval_derivative(self, symbol: Any) -> Any:
        return self.doit().diff(symbol)


class SourceFamily(sp.Function):
    """One right-hand side per shot: `SourceFamily([f1, f2])` for a field with `shots=2`."""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        members: Iterable[Any] = args
        if len(args) == 1 and isinstance(args[0], (list, tuple)):
            members = args[0]
        expressions = [scalar_entry("SourceFamily", member) for member in members]
        if not expressions:
            raise ProblemError("SourceFamily was given no sources; expected one per shot")
        if any(member.has(SourceFamily) for member in expressions):
            raise ProblemError("SourceFamily was given another SourceFamily as a member; expected one source per shot in one list")
        return super().__new__(cls, *expressions, **options)

    def _eval_derivative(self, symbol: Any) -> Any:
        return SourceFamily(*[member.diff(symbol) for member in self.args])

    @cached_property
    def free_symbols(self) -> set[Any]:
        """Symbols of all members, collected once: every stage asks, and a survey has a thousand members."""
        return set().union(*(member.free_symbols for member in self.args))

    def doit(self, **hints: Any) -> Any:
        """Return the family of plain SymPy expressions."""
        return SourceFamily(*[member.doit(**hints) for member in self.args])


SOURCE_HEADS = (GaussianSource, RickerWavelet)


def expand_sources(expression: Any) -> Any:
    """Return the expression with Gaussian and Ricker sources written out."""
    return expression.replace(lambda node: isinstance(node, SOURCE_HEADS), lambda node: node.doit())


def families_in(expression: Any) -> list[Any]:
    """Return the source families of an expression, each once, in the order of its tree; nothing looks inside one."""
    found: dict[Any, None] = {}
    nodes = [expression]
    while nodes:
        node = nodes.pop()
        if isinstance(node, SourceFamily):
            found.setdefault(node)
        else:
            nodes += reversed(node.args)
    return list(found)


def families_aside(expression: Any, *within: Any) -> tuple[Any, dict[Any, Any]]:
    """Return the expression with source families that hold none of `within` as plain symbols, and what each symbol stands for.

    What rewrites derivatives or coefficients of a field has nothing to do inside a family, and would walk through a thousand members each time.
    """
    names = {family: sp.Dummy("family") for family in families_in(expression) if not family.has(*within)}
    return expression.xreplace(names), {name: family for family, name in names.items()}


def select_shot(expression: Any, shot: int) -> Any:
    """Return the expression with every source family replaced by its member of the shot."""
    families = families_in(expression)
    return expression.xreplace({family: family.args[shot] for family in families}) if families else expression
