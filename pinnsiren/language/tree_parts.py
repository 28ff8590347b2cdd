"""The small parts of a stored declaration: numbers, symbols, domains, and the shelf of arrays beside the tree.

Input: values of the language. Output: trees of what JSON can hold (lists, dictionaries with text keys, text, numbers, booleans, None), and back.
A file is judged, never believed: whatever does not have the form written here is a `StorageError`, and no text of a file is ever evaluated.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, NoReturn

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import StorageError
from pinnsiren.language.domains import (
    AbstractDomain,
    AbstractSetOperation,
    AbstractShape,
    Ball,
    Box,
    Difference,
    Disk,
    Intersection,
    Interval,
    Polygon,
    SpaceTime,
    TriangleMesh,
    Union,
)

Tree = Any
NUMERIC_KINDS = "biufc"  # array kinds that hold numbers; text in an array would be parsed as code by `sympify`
ASSUMPTIONS = frozenset(
    "algebraic antihermitian commutative complex composite even extended_negative extended_nonnegative extended_nonpositive extended_nonzero "
    "extended_positive extended_real finite hermitian imaginary infinite integer irrational negative noninteger nonnegative nonpositive nonzero "
    "odd polar positive prime rational real transcendental zero".split()
)


def shortened(value: object, limit: int = 80) -> str:
    """Return a printed form that fits into a message, also of what a damaged file holds."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # numbers of thousands of digits, expressions without end
        text = type(value).__name__
    return text if len(text) <= limit else text[:limit] + "..."


def refuse(found: object, expected: str) -> NoReturn:
    """Raise `StorageError` for a part of a stored declaration that has not the expected form."""
    raise StorageError(
        f"the stored declaration holds `{shortened(found)}`; expected {expected}. The file is damaged or foreign, or a newer version of pinnsiren "
        "wrote it: upgrade pinnsiren, or declare the problem in code and pass it to load(path, problem=...)"
    )


def entry(tree: Tree, key: str) -> Tree:
    """Return `tree[key]`, or raise `StorageError` when the tree is no record with that key."""
    if not isinstance(tree, Mapping) or key not in tree:
        refuse(tree, f"a record with `{key}`")
    return tree[key]


def text(tree: Tree, key: str) -> str:
    """Return the text `tree[key]`."""
    value = entry(tree, key)
    if not isinstance(value, str):
        refuse(value, f"text for `{key}`")
    return value


def items(tree: Tree, key: str) -> list[Tree]:
    """Return the list `tree[key]`."""
    value = entry(tree, key)
    if not isinstance(value, list):
        refuse(value, f"a list for `{key}`")
    return value


def content_digest(array: NDArray[Any]) -> str:
    """Return the SHA-256 of dtype, shape and content."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@dataclass
class ArrayShelf:
    """Arrays that stand beside a tree, each under a name that ends in the hash of its content.

    Attributes:
        arrays: the arrays by name.
        classes: rebuilt symbols by their record; a spline through a large map is computed once.
    """

    arrays: dict[str, NDArray[Any]]
    classes: dict[str, Any] = dataclass_field(default_factory=dict)

    def put(self, label: str, array: NDArray[Any]) -> str:
        """Keep an array and return its name; equal arrays under one label share it."""
        if array.dtype.kind not in NUMERIC_KINDS:
            raise StorageError(f"`{label}` holds an array of dtype {array.dtype}; files hold arrays of numbers only, so convert it")
        name = f"{label}-{content_digest(array)}"
        self.arrays[name] = array
        return name

    def take(self, name: Tree) -> NDArray[Any]:
        """Return the array of a name after a check of its content."""
        array = self.arrays.get(name) if isinstance(name, str) else None
        if not isinstance(array, np.ndarray) or array.dtype.kind not in NUMERIC_KINDS:
            refuse(name, "the name of a stored array of numbers")
        if not name.endswith(f"-{content_digest(array)}"):
            refuse(name, "an array whose content fits the hash in its name")
        return array


def number_to_tree(value: Any) -> Tree:
    """Return a Python or NumPy number as JSON; infinities and complex numbers become small records."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, int):
        return int(plain)
    if isinstance(plain, float):
        return plain if math.isfinite(plain) else {"float": str(plain)}
    if isinstance(plain, complex):
        return {"complex": [number_to_tree(plain.real), number_to_tree(plain.imag)]}
    raise StorageError(f"the declaration holds `{shortened(value)}` of type `{type(value).__name__}`, which files cannot hold; give a number")


def number_from_tree(tree: Tree) -> int | float | complex:
    """Return the number of a tree."""
    if isinstance(tree, (int, float)) and not isinstance(tree, bool):
        return tree
    if isinstance(tree, Mapping) and list(tree) == ["float"] and tree["float"] in ("inf", "-inf", "nan"):
        return float(tree["float"])
    if isinstance(tree, Mapping) and list(tree) == ["complex"] and isinstance(tree["complex"], list) and len(tree["complex"]) == 2:
        return complex(*(real_from_tree(part) for part in tree["complex"]))
    refuse(tree, "a number")


def real_from_tree(tree: Tree) -> float:
    """Return the real number of a tree."""
    value = number_from_tree(tree)
    if isinstance(value, complex):
        refuse(tree, "a real number")
    return float(value)


def symbol_to_tree(symbol: Any) -> Tree:
    """Return a coordinate: its name, and its assumptions when they are others than realness."""
    if type(symbol) is not sp.Symbol or not symbol.name.isidentifier():
        raise StorageError(f"the declaration holds `{symbol}` of type `{type(symbol).__name__}`; files hold symbols made by `coordinates` only")
    if symbol == sp.Symbol(symbol.name, real=True):
        return ["Symbol", symbol.name]
    return ["Symbol", symbol.name, dict(sorted(symbol.assumptions0.items()))]


def symbol_from_tree(tree: Tree) -> Any:
    """Return the symbol of a tree.

    The name has to be an identifier: it ends up in code that `lambdify` writes.
    """
    if not isinstance(tree, list) or len(tree) not in (2, 3) or tree[0] != "Symbol" or not isinstance(tree[1], str) or not tree[1].isidentifier():
        refuse(tree, "a coordinate with an identifier for its name")
    assumptions = tree[2] if len(tree) == 3 else {"real": True}
    if not isinstance(assumptions, Mapping) or not ASSUMPTIONS.issuperset(assumptions) or not all(isinstance(v, bool) for v in assumptions.values()):
        refuse(tree, "assumptions that SymPy knows, true or false")
    try:
        return sp.Symbol(tree[1], **assumptions)
    except ValueError:
        refuse(tree, "assumptions that do not contradict each other")


Symbols = Mapping[str, Any]


def _limits(row: Tree, symbols: Symbols) -> tuple[Any, tuple[float, float]]:
    if not isinstance(row, list) or len(row) != 3 or not isinstance(row[0], str) or row[0] not in symbols:
        refuse(row, "a coordinate and its limits")
    return symbols[row[0]], (real_from_tree(row[1]), real_from_tree(row[2]))


def _box_limits(record: Tree, symbols: Symbols) -> dict[Any, tuple[float, float]]:
    return dict(_limits(row, symbols) for row in items(record, "limits"))


def _centre(record: Tree, symbols: Symbols) -> dict[Any, float]:
    centre = {}
    for row in items(record, "centre"):
        if not isinstance(row, list) or len(row) != 2 or not isinstance(row[0], str) or row[0] not in symbols:
            refuse(row, "a coordinate and its value")
        centre[symbols[row[0]]] = real_from_tree(row[1])
    return centre


def _vertices(record: Tree, symbols: Symbols) -> dict[Any, list[float]]:
    columns = {}
    for row in items(record, "vertices"):
        if not isinstance(row, list) or not row or not isinstance(row[0], str) or row[0] not in symbols:
            refuse(row, "a coordinate and the positions of the vertices")
        columns[symbols[row[0]]] = [real_from_tree(value) for value in row[1:]]
    return columns


def _mesh(record: Tree, symbols: Symbols) -> TriangleMesh:
    names = items(record, "coordinates")
    if not all(isinstance(name, str) and name in symbols for name in names):
        refuse(names, "the names of three coordinates")
    tables = []
    for key in ("vertices", "faces"):
        rows = items(record, key)
        if not all(isinstance(row, list) and len(row) == 3 for row in rows):
            refuse(rows, f"rows of three numbers for `{key}`")
        tables.append([[real_from_tree(value) for value in row] for row in rows])
    return TriangleMesh([symbols[name] for name in names], *tables)


def _members(record: Tree, symbols: Symbols) -> list[AbstractShape]:
    members = [_shape(member, symbols) for member in items(record, "members")]
    shapes = [member for member in members if isinstance(member, AbstractShape)]
    if len(shapes) != len(members) or len(members) < 2:
        refuse(record, "two or more shapes in space")
    return shapes


SHAPES: dict[type[AbstractDomain], Callable[[Tree, Symbols], AbstractDomain]] = {
    Interval: lambda record, symbols: Interval(_box_limits(record, symbols)),
    Box: lambda record, symbols: Box(_box_limits(record, symbols)),
    Ball: lambda record, symbols: Ball(_centre(record, symbols), real_from_tree(entry(record, "radius"))),
    Disk: lambda record, symbols: Disk(_centre(record, symbols), real_from_tree(entry(record, "radius"))),
    Polygon: lambda record, symbols: Polygon(_vertices(record, symbols)),
    TriangleMesh: _mesh,
    Union: lambda record, symbols: Union(_members(record, symbols)),
    Intersection: lambda record, symbols: Intersection(_members(record, symbols)),
    Difference: lambda record, symbols: Difference(_members(record, symbols)),
    SpaceTime: lambda record, symbols: SpaceTime(_shape(entry(record, "space"), symbols), dict([_limits(entry(record, "time"), symbols)])),
}


def domain_to_tree(domain: AbstractDomain) -> Tree:
    """Return a domain: its record, and its coordinates with their assumptions."""
    inner = domain.space if isinstance(domain, SpaceTime) else domain
    for shape in (domain, *_nested(inner)):
        if type(shape) not in SHAPES:
            known = ", ".join(shape.__name__ for shape in SHAPES)
            raise StorageError(f"the declaration holds a domain of type `{type(shape).__name__}`; files hold {known}. Use one of them")
    names = [symbol.name for symbol in domain.coordinates]
    if len(set(names)) != len(names):
        raise StorageError(f"the domain {domain} has two coordinates of one name; rename one, since files tell coordinates by name")
    return {"coordinates": [symbol_to_tree(symbol) for symbol in domain.coordinates], "shape": domain.as_record()}


def _nested(shape: AbstractDomain) -> list[AbstractDomain]:
    """Return a shape and all that it is made of."""
    members = shape.members if isinstance(shape, AbstractSetOperation) else ()
    return [shape, *(part for member in members for part in _nested(member))]


def domain_from_tree(tree: Tree) -> AbstractDomain:
    """Return the domain of a tree."""
    symbols = [symbol_from_tree(row) for row in items(tree, "coordinates")]
    return _shape(entry(tree, "shape"), {symbol.name: symbol for symbol in symbols})


def _shape(record: Tree, symbols: Symbols) -> AbstractDomain:
    builders = {shape.__name__: build for shape, build in SHAPES.items()}
    kind = text(record, "kind")
    if kind not in builders:
        refuse(kind, f"one of the shapes {', '.join(builders)}")
    return builders[kind](record, symbols)
