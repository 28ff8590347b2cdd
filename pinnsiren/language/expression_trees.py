"""SymPy expressions of the language as trees of JSON values, and back.

Input: an expression and a shelf for the arrays of sampled data. Output: nested lists `[head, argument, ...]` such as `["Pow", ["Symbol", "x"],
["Integer", "2"]]`. Heads stand on a whitelist: the constants and functions below, and the heads that the language itself defines. Expressions are
rebuilt unevaluated, argument by argument, so that the structure comes back exactly; text is never parsed as an expression.
"""

import json
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import mpmath
import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.logic.boolalg import Boolean, BooleanFalse, BooleanTrue

from pinnsiren.errors import PinnsirenError, StorageError
from pinnsiren.language import heads, operators, sources
from pinnsiren.language.sampled import SampledDeclaration, sampled
from pinnsiren.language.symbols import FieldDeclaration, UnknownDeclaration, UnknownFieldDeclaration, declaration_of, field, unknown, unknown_field
from pinnsiren.language.tree_parts import (
    ArrayShelf,
    Tree,
    domain_from_tree,
    domain_to_tree,
    entry,
    items,
    number_from_tree,
    number_to_tree,
    real_from_tree,
    refuse,
    shortened,
    symbol_from_tree,
    symbol_to_tree,
    text,
)

MAX_DEPTH = 150  # SymPy recurses several frames per level and Python allows 1000 frames; declarations stay below 30 levels
MAX_DIGITS = 4300  # longest integer that Python converts to and from text
MAX_EXPONENT = 20_000  # far beyond any physical constant; 10**exponent is computed when a decimal is read
MAX_PRECISION = 40_000  # bits
INTEGER = re.compile(r"-?[0-9]+\Z")
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]*)?(e([+-]?[0-9]{1,9}))?\Z")

CONSTANTS: dict[str, Any] = {
    "pi": sp.pi, "E": sp.E, "I": sp.I, "EulerGamma": sp.EulerGamma, "GoldenRatio": sp.GoldenRatio, "true": sp.true, "false": sp.false,
}
FUNCTIONS = (
    sp.exp, sp.log, sp.sin, sp.cos, sp.tan, sp.cot, sp.sec, sp.csc, sp.asin, sp.acos, sp.atan, sp.atan2, sp.acot, sp.sinc,
    sp.sinh, sp.cosh, sp.tanh, sp.coth, sp.sech, sp.csch, sp.asinh, sp.acosh, sp.atanh, sp.Abs, sp.sign, sp.Max, sp.Min, sp.floor, sp.ceiling, sp.Mod,
    sp.re, sp.im, sp.arg, sp.conjugate, sp.Heaviside, sp.DiracDelta, sp.erf, sp.erfc, sp.erfi, sp.gamma, sp.loggamma, sp.LambertW,
    sp.besselj, sp.bessely, sp.besseli, sp.besselk, sp.hankel1, sp.hankel2, sp.jn, sp.yn, sp.airyai, sp.airybi, sp.legendre, sp.assoc_legendre,
)
LOGIC = (sp.And, sp.Or, sp.Not)
RELATIONS = (sp.Equality, sp.Unequality, sp.StrictLessThan, sp.LessThan, sp.StrictGreaterThan, sp.GreaterThan)
COMMUTATIVE = frozenset(head.__name__ for head in (sp.Add, sp.Mul, sp.Max, sp.Min, sp.And, sp.Or, sp.Equality, sp.Unequality))


def language_heads(module: ModuleType) -> list[Any]:
    """Return the function heads that a module of the language defines."""
    found = [value for value in vars(module).values() if isinstance(value, type) and issubclass(value, sp.Function)]
    return [head for head in found if head.__module__ == module.__name__]


LANGUAGE = tuple(head for module in (heads, operators, sources) for head in language_heads(module))
HEADS: dict[str, Any] = {head.__name__: head for head in (sp.Add, sp.Mul, sp.Pow, sp.Derivative, sp.Tuple, *FUNCTIONS, *LOGIC, *RELATIONS, *LANGUAGE)}
FUNCTION_NAMES = ("Add", "Mul", "Pow", "Piecewise", *(function.__name__ for function in FUNCTIONS))

# Positions at which a head takes tuples (a derivative: all but the first); else arguments are scalars, or truth values for the heads of LOGIC.
TUPLE_POSITIONS: dict[str, range] = {"Derivative": range(1, MAX_DEPTH), "Divergence": range(2), "GaussianSource": range(2)}


def expression_to_tree(expression: Any, shelf: ArrayShelf) -> Tree:
    """Return the tree of an expression, after a check that it comes back equal.

    Raises:
        StorageError: a head that is not on the whitelist; the message names it.
    """
    tree = _write(expression, shelf, 0)
    if expression_from_tree(tree, shelf) != expression:
        raise StorageError(f"the expression `{shortened(expression)}` does not come back equal from a file; write it in evaluated form (`.doit()`)")
    return tree


def _write(node: Any, shelf: ArrayShelf, depth: int) -> Tree:
    if depth > MAX_DEPTH:
        raise StorageError(f"an expression of the declaration is nested deeper than {MAX_DEPTH} levels; simplify it")
    for name, constant in CONSTANTS.items():
        if node is constant:
            return [name]
    if isinstance(node, sp.Symbol):
        return symbol_to_tree(node)
    if isinstance(node, sp.Number) and (node.is_Rational or node.is_Float):
        return _write_number(node)
    if isinstance(node, AppliedUndef):
        return [*_write_declaration(node, shelf), *(_write(argument, shelf, depth + 1) for argument in node.args)]
    if isinstance(node, sp.Piecewise):
        return ["Piecewise", *([_write(part, shelf, depth + 1) for part in pair.args] for pair in node.args)]
    head = type(node).__name__
    if HEADS.get(head) is not type(node):
        raise StorageError(
            f"the declaration holds `{head}` in `{shortened(node)}`, which files cannot hold; "
            f"write it with {', '.join(FUNCTION_NAMES)} or `sampled` data"
        )
    return [head, *(_write(argument, shelf, depth + 1) for argument in node.args)]


def _write_number(number: Any) -> Tree:
    if number.is_Float:
        tree = ["Float", mpmath.libmp.to_str(number._mpf_, mpmath.libmp.repr_dps(number._prec)), number._prec]
        if not _is_float(tree):
            raise StorageError(f"the declaration holds the number `{shortened(tree[1])}`, beyond 1e{MAX_EXPONENT} in size or its inverse; scale it")
        return tree
    parts = (number.p,) if number.is_Integer else (number.p, number.q)
    if any(abs(part) >= 10**MAX_DIGITS for part in parts):
        raise StorageError(f"a whole number of the declaration has more than {MAX_DIGITS} digits; give it as a floating-point number")
    return ["Integer" if number.is_Integer else "Rational", *(str(part) for part in parts)]


def _write_declaration(applied: Any, shelf: ArrayShelf) -> Tree:
    """Return the kind of an applied symbol and its record; the arguments follow, since they may be others than those of the declaration."""
    declaration = declaration_of(applied)
    record: dict[str, Tree]
    if isinstance(declaration, FieldDeclaration):
        kind, record = "field", {"complex": declaration.is_complex, "shots": declaration.shots}
    elif isinstance(declaration, UnknownDeclaration):
        kind, record = "unknown", {"complex": declaration.is_complex, "bounds": [number_to_tree(b) for b in declaration.bounds]}
        record["initial"] = number_to_tree(declaration.initial)
    elif isinstance(declaration, UnknownFieldDeclaration):
        kind, record = "unknown_field", {"bounds": [number_to_tree(b) for b in declaration.bounds]}
        record["coordinates"] = [symbol_to_tree(symbol) for symbol in declaration.coordinates]
        record["initial"] = expression_to_tree(declaration.initial, shelf)
        record["support"] = None if declaration.support is None else domain_to_tree(declaration.support)
    elif isinstance(declaration, SampledDeclaration):
        kind, record = "sampled", {"order": declaration.order, "outside": declaration.outside}
        record["axes"] = [shelf.put(f"{declaration.name}-axis", axis) for axis in declaration.axes]
        record["values"] = shelf.put(f"{declaration.name}-values", declaration.values)
        if declaration.interpolation != "spline":
            record["interpolation"] = declaration.interpolation
    else:
        raise StorageError(f"the declaration holds the function `{applied}`, which files cannot hold; make it with `field`, `unknown` or `sampled`")
    record["name"] = declaration.name
    shelf.classes[_class_key(kind, record, len(applied.args))] = type(applied)
    return [kind, record]


def _class_key(kind: str, record: Tree, n_arguments: int) -> str:
    return json.dumps([kind, record, n_arguments], sort_keys=True)


def expression_from_tree(tree: Tree, shelf: ArrayShelf) -> Any:
    """Return the expression of a tree.

    Raises:
        StorageError: a head that is not on the whitelist, or arguments that do not belong to it.
    """
    return _read(tree, shelf, 0)


def _read(tree: Tree, shelf: ArrayShelf, depth: int) -> Any:
    if not isinstance(tree, list) or not tree or not isinstance(tree[0], str) or depth > MAX_DEPTH:
        refuse(tree, f"an expression such as [\"pi\"], nested up to {MAX_DEPTH} levels")
    head, *rest = tree
    if head in CONSTANTS and not rest:
        return CONSTANTS[head]
    if head == "Symbol":
        return symbol_from_tree(tree)
    if head in ("Integer", "Rational"):
        return _read_rational(tree)
    if head == "Float":
        return _read_float(tree)
    if head == "Piecewise":
        return _read_piecewise(rest, shelf, depth)
    if head in DECLARED and rest:
        arguments = [_read(argument, shelf, depth + 1) for argument in rest[1:]]
        _check_arguments(head, arguments)
        return _class_of(head, rest[0], len(arguments), shelf)(*arguments, evaluate=False)
    if head not in HEADS:
        refuse(head, "a head of the language")
    arguments = [_read(argument, shelf, depth + 1) for argument in rest]
    _check_arguments(head, arguments)
    return _build(head, arguments)


def _build(head: str, arguments: list[Any]) -> Any:
    try:
        return sp.Tuple(*arguments) if head == "Tuple" else HEADS[head](*arguments, evaluate=False)
    except (PinnsirenError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise StorageError(f"the stored declaration holds `{head}` of {shortened(arguments)}, no expression: {error}. The file is damaged") from error


def _check_arguments(head: str, arguments: list[Any]) -> None:
    for position, argument in enumerate(arguments):
        expected: Any = sp.Expr
        if head in ("And", "Or", "Not"):
            expected = Boolean
        elif position in TUPLE_POSITIONS.get(head, range(0)):
            expected = sp.Tuple
        if not isinstance(argument, expected):
            refuse(argument, f"another kind of argument {position + 1} of `{head}`")
    if head in ("Add", "Mul", "Laplacian") and len(arguments) < 2:
        refuse(arguments, f"two or more arguments of `{head}`")
    coordinates: list[Any] = []
    if head in ("Laplacian", "SpatialDerivative"):
        coordinates = arguments[1:]
    elif head == "NormalComponent":
        coordinates = arguments
    elif head in ("Divergence", "GaussianSource") and len(arguments) >= 2:
        coordinates = list(arguments[1] if head == "Divergence" else arguments[0])
        if len(arguments[0]) != len(arguments[1]):
            refuse(arguments, f"tuples of one length in `{head}`")
    if not all(isinstance(symbol, sp.Symbol) for symbol in coordinates):
        refuse(coordinates, f"coordinates in `{head}`")


def _read_rational(tree: Tree) -> Any:
    parts = tree[1:]
    wanted = 1 if tree[0] == "Integer" else 2
    if len(parts) != wanted or not all(isinstance(part, str) and len(part) <= MAX_DIGITS and INTEGER.match(part) for part in parts):
        refuse(tree, "a whole number or a fraction in digits")
    numbers = [int(part) for part in parts]
    if numbers[-1] == 0 and wanted == 2:
        refuse(tree, "a fraction whose denominator is not zero")
    return sp.Integer(numbers[0]) if wanted == 1 else sp.Rational(*numbers)


def _is_float(tree: Tree) -> bool:
    decimal = DECIMAL.match(tree[1]) if len(tree) == 3 and isinstance(tree[1], str) and len(tree[1]) <= MAX_EXPONENT else None
    return decimal is not None and type(tree[2]) is int and 1 <= tree[2] <= MAX_PRECISION and abs(int(decimal.group(3) or 0)) <= MAX_EXPONENT


def _read_float(tree: Tree) -> Any:
    if not _is_float(tree):
        refuse(tree, "a decimal number and its precision in bits")
    return sp.Float(tree[1], precision=tree[2])


def _read_piecewise(pairs: list[Tree], shelf: ArrayShelf, depth: int) -> Any:
    branches = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            refuse(pair, "a value and its condition")
        value, condition = (_read(part, shelf, depth + 1) for part in pair)
        if not isinstance(value, sp.Expr) or not isinstance(condition, (Boolean, BooleanTrue, BooleanFalse)):
            refuse(pair, "a value and its condition")
        branches.append((value, condition))
    if not branches:
        refuse(pairs, "one or more branches of a Piecewise")
    return sp.Piecewise(*branches, evaluate=False)


def _class_of(kind: str, record: Tree, n_arguments: int, shelf: ArrayShelf) -> Any:
    """Return the class behind an applied symbol; it is rebuilt by the function that a user calls, so that its checks run."""
    try:
        key = _class_key(kind, record, n_arguments)
        if key not in shelf.classes:
            shelf.classes[key] = type(DECLARED[kind](record, [sp.Symbol(f"x{i}", real=True) for i in range(n_arguments)], shelf))
    except StorageError:
        raise
    except (PinnsirenError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise StorageError(f"the stored declaration holds a `{kind}` that cannot be rebuilt: {error}. The file is damaged") from error
    return shelf.classes[key]


def _flag(record: Tree, key: str) -> bool:
    value = entry(record, key)
    if not isinstance(value, bool):
        refuse(value, f"true or false for `{key}`")
    return value


def _bounds(record: Tree) -> tuple[float, float]:
    low, high = (real_from_tree(bound) for bound in items(record, "bounds"))
    return low, high


def _read_field(record: Tree, symbols: list[Any], shelf: ArrayShelf) -> Any:
    shots = entry(record, "shots")
    if shots is not None and type(shots) is not int:
        refuse(shots, "a number of shots")
    return field(text(record, "name"), *symbols, complex=_flag(record, "complex"), shots=shots)


def _read_unknown(record: Tree, symbols: list[Any], shelf: ArrayShelf) -> Any:
    if symbols:
        refuse(record, "an unknown without arguments")
    return unknown(text(record, "name"), number_from_tree(entry(record, "initial")), _bounds(record), complex=_flag(record, "complex"))


def _read_unknown_field(record: Tree, symbols: list[Any], shelf: ArrayShelf) -> Any:
    support = entry(record, "support")
    declared = [symbol_from_tree(symbol) for symbol in items(record, "coordinates")]
    if len(declared) != len(symbols):
        refuse(record, "a coefficient field with one argument per coordinate")
    return unknown_field(
        text(record, "name"), *declared, initial=expression_from_tree(entry(record, "initial"), shelf), bounds=_bounds(record),
        support=None if support is None else domain_from_tree(support),
    )


def _read_sampled(record: Tree, symbols: list[Any], shelf: ArrayShelf) -> Any:
    axes = {symbol: shelf.take(name) for symbol, name in zip(symbols, items(record, "axes"), strict=True)}
    order = entry(record, "order")
    if type(order) is not int:
        refuse(order, "a spline order")
    interpolation = text(record, "interpolation") if isinstance(record, Mapping) and "interpolation" in record else "spline"
    return sampled(text(record, "name"), axes, shelf.take(entry(record, "values")), order, text(record, "outside"), interpolation)


DECLARED = {"field": _read_field, "unknown": _read_unknown, "unknown_field": _read_unknown_field, "sampled": _read_sampled}
