"""The declaration as a JSON tree with arrays beside it, and back: what files and checkpoints keep of a problem.

Input: a `Problem`. Output: `(tree, arrays)`; `json.dumps(tree)` always works, and the arrays (sampled data, observations) stand in the tree by
name. Rebuilding runs the constructors and checks of the language, so that a file holds no problem that could not be declared. Callables among the
exact solutions are not stored; the tree notes for which fields they are missing.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import Field, is_dataclass
from dataclasses import fields as dataclass_fields
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from pinnsiren.errors import PinnsirenError, ProblemWarning, StorageError
from pinnsiren.language import conditions, penalties
from pinnsiren.language.conditions import AbstractCondition
from pinnsiren.language.declaration import Exact
from pinnsiren.language.domains import AbstractDomain, Boundary, PointCloud
from pinnsiren.language.expression_trees import COMMUTATIVE, expression_from_tree, expression_to_tree
from pinnsiren.language.problem import Problem
from pinnsiren.language.symbols import declaration_of
from pinnsiren.language.tree_parts import (
    ArrayShelf,
    Tree,
    domain_from_tree,
    domain_to_tree,
    entry,
    items,
    number_from_tree,
    number_to_tree,
    refuse,
    symbol_from_tree,
    symbol_to_tree,
    text,
)

# The whitelist of conditions: the frozen records of the language, each stored attribute by attribute.
CONDITIONS: dict[str, type[AbstractCondition]] = {
    name: value
    for module in (conditions, penalties)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, AbstractCondition) and is_dataclass(value)
}


def problem_to_tree(problem: Problem) -> tuple[dict[str, Tree], dict[str, NDArray[Any]]]:
    """Return the declaration as a tree of JSON values, and the arrays that it names.

    Raises:
        StorageError: a head, condition or domain that files cannot hold; the message names it.
    """
    shelf = ArrayShelf({})
    tree = _declared_part(problem, shelf)
    exact = dict(problem.exact or {})
    callables = [candidate for candidate, solution in exact.items() if callable(solution) and not isinstance(solution, sp.Basic)]
    stored = [[expression_to_tree(f, shelf), _value_to_tree(solution, shelf)] for f, solution in exact.items() if f not in callables]
    tree["exact"] = None if problem.exact is None else stored
    tree["exact_callables"] = [expression_to_tree(candidate, shelf) for candidate in callables]
    return tree, shelf.arrays


def _declared_part(problem: Problem, shelf: ArrayShelf) -> dict[str, Tree]:
    return {
        "name": problem.name,
        "fields": [expression_to_tree(candidate, shelf) for candidate in problem.fields],
        "domain": domain_to_tree(problem.domain),
        "equations": [expression_to_tree(equation, shelf) for equation in problem.equations],
        "conditions": [condition_to_tree(condition, shelf) for condition in problem.conditions],
    }


def problem_from_tree(tree: Tree, arrays: Mapping[str, NDArray[Any]], *, exact: Exact | None = None) -> Problem:
    """Return the declared problem of a tree.

    Args:
        tree: what `problem_to_tree` returned, possibly after a way through JSON.
        arrays: its arrays by name.
        exact: exact solutions from which the callables that are not stored are taken.

    Raises:
        StorageError: a tree that is damaged or foreign.
    """
    shelf = ArrayShelf(dict(arrays))
    try:
        equations = [expression_from_tree(equation, shelf) for equation in items(tree, "equations")]
        if not all(isinstance(equation, sp.Expr) for equation in equations):
            refuse(equations, "scalar equations")
        # What the declaration was warned of when it was written needs no second warning.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ProblemWarning)
            return Problem(
                name=text(tree, "name"),
                fields=[expression_from_tree(candidate, shelf) for candidate in items(tree, "fields")],
                domain=domain_from_tree(entry(tree, "domain")),
                equations=equations,
                conditions=[condition_from_tree(condition, shelf) for condition in items(tree, "conditions")],
                exact=_exact_from_tree(tree, shelf, exact),
            )
    except StorageError:
        raise
    except (PinnsirenError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise StorageError(f"the stored declaration is not a valid problem ({error}); the file is damaged or foreign") from error


def callables_not_stored(tree: Tree) -> tuple[str, ...]:
    """Return the names of the fields whose exact solution is a callable, which files do not hold."""
    shelf = ArrayShelf({})
    found = [expression_from_tree(candidate, shelf) for candidate in items(tree, "exact_callables")]
    return tuple(str(candidate.func.__name__) for candidate in found)


def _exact_from_tree(tree: Tree, shelf: ArrayShelf, given: Exact | None) -> dict[Any, Any] | None:
    if entry(tree, "exact") is None:
        return None
    solutions: dict[Any, Any] = {}
    for pair in items(tree, "exact"):
        if not isinstance(pair, list) or len(pair) != 2:
            refuse(pair, "a field and its exact solution")
        solutions[expression_from_tree(pair[0], shelf)] = _value_from_tree(pair[1], shelf)
    callables = [expression_from_tree(candidate, shelf) for candidate in items(tree, "exact_callables")]
    solutions |= {candidate: given[candidate] for candidate in callables if given is not None and candidate in given}
    if any(declaration_of(candidate) is None for candidate in solutions):
        refuse(list(solutions), "exact solutions of fields")
    return solutions if solutions or not callables else None


def declaration_digest(problem: Problem) -> str:
    """Return a SHA-256 of the declaration that matches a checkpoint with its problem.

    It is the same in every process and for every order in which SymPy keeps the arguments of sums and products; arrays enter by their content.
    Exact solutions stay out: no run depends on them, and a problem that lost its callables in a file is still the same problem.
    """
    tree = canonical(_declared_part(problem, ArrayShelf({})))
    return hashlib.sha256(_json(tree).encode()).hexdigest()


def canonical(tree: Tree) -> Tree:
    """Return the tree with the arguments of commutative heads in the order of their JSON texts."""
    if isinstance(tree, dict):
        return {key: canonical(value) for key, value in tree.items()}
    if not isinstance(tree, list):
        return tree
    parts = [canonical(part) for part in tree]
    if parts and isinstance(parts[0], str) and parts[0] in COMMUTATIVE:
        return [parts[0], *sorted(parts[1:], key=_json)]
    return parts


def _json(tree: Tree) -> str:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _attributes_of(kind: str) -> "tuple[Field[Any], ...]":
    return dataclass_fields(CONDITIONS[kind])  # type: ignore[arg-type]


def condition_to_tree(condition: AbstractCondition, shelf: ArrayShelf) -> Tree:
    """Return the kind and the attributes of a condition."""
    kind = type(condition).__name__
    if CONDITIONS.get(kind) is not type(condition):
        raise StorageError(f"the declaration holds a condition of type `{kind}`; files hold {', '.join(CONDITIONS)}. Write it as a Constraint")
    attributes = {}
    for attribute in _attributes_of(kind):
        value = getattr(condition, attribute.name)
        if attribute.name == "on" and value is not None:
            attributes["on"] = location_to_tree(value, shelf)
        elif isinstance(value, np.ndarray):
            attributes[attribute.name] = {"array": shelf.put(f"{kind}-{attribute.name}", value)}
        elif isinstance(value, str):
            attributes[attribute.name] = {"text": value}
        else:
            attributes[attribute.name] = None if value is None else _value_to_tree(value, shelf)
    return {"kind": kind, "attributes": attributes}


def condition_from_tree(tree: Tree, shelf: ArrayShelf) -> AbstractCondition:
    """Return the condition of a tree."""
    kind, attributes = text(tree, "kind"), entry(tree, "attributes")
    if kind not in CONDITIONS or not isinstance(attributes, Mapping):
        refuse(kind, f"one of the conditions {', '.join(CONDITIONS)}, with its attributes")
    known = {attribute.name: attribute for attribute in _attributes_of(kind)}
    if not set(attributes) <= set(known):
        refuse(sorted(set(attributes) - set(known)), f"attributes of `{kind}` only")
    return CONDITIONS[kind](**{name: _attribute_from_tree(known[name], value, shelf) for name, value in attributes.items()})


def _attribute_from_tree(attribute: "Field[Any]", tree: Tree, shelf: ArrayShelf) -> Any:
    if tree is None:
        return None
    if attribute.name == "on":
        return location_from_tree(tree, shelf)
    if isinstance(tree, Mapping) and list(tree) == ["array"]:
        return shelf.take(tree["array"])
    if isinstance(tree, Mapping) and list(tree) == ["text"]:
        # Elsewhere a constructor would hand the text to `sympify`, which evaluates it.
        if attribute.type is not str:
            refuse(tree, f"an expression or a number for `{attribute.name}`")
        return text(tree, "text")
    return _value_from_tree(tree, shelf)


def location_to_tree(on: Any, shelf: ArrayShelf) -> Tree:
    """Return a location: a part, several parts, a domain or a point."""
    if isinstance(on, str):
        return {"part": on}
    if isinstance(on, Boundary):
        return {"boundary": domain_to_tree(on.of)}
    if isinstance(on, tuple) and all(isinstance(part, str) for part in on):
        return {"parts": list(on)}
    if isinstance(on, tuple) and all(isinstance(part, (str, Boundary)) for part in on):
        return {"several": [location_to_tree(part, shelf) for part in on]}
    if isinstance(on, AbstractDomain):
        return {"domain": domain_to_tree(on)}
    if isinstance(on, PointCloud):
        arrays = {"points": shelf.put("cloud", on.points), "normals": shelf.put("normals", on.normals)}
        return {"cloud": {"coordinates": [symbol_to_tree(symbol) for symbol in on.coordinates], **arrays}}
    if isinstance(on, Mapping):
        return {"point": sorted(([symbol_to_tree(symbol), _value_to_tree(value, shelf)] for symbol, value in on.items()), key=_json)}
    raise StorageError(f"a condition stands on `{on!r}`, which files cannot hold; use a part, a tuple of parts, a domain or a point {{x: 0.6}}")


def location_from_tree(tree: Tree, shelf: ArrayShelf) -> Any:
    """Return the location of a tree."""
    form = next(iter(tree)) if isinstance(tree, Mapping) and len(tree) == 1 else None
    if form == "part":
        return text(tree, "part")
    if form == "parts" and all(isinstance(part, str) for part in items(tree, "parts")):
        return tuple(tree["parts"])
    if form == "boundary":
        return domain_from_tree(tree["boundary"]).boundary
    if form == "several":
        return tuple(location_from_tree(part, shelf) for part in items(tree, "several"))
    if form == "domain":
        return domain_from_tree(tree["domain"])
    if form == "cloud":
        record = tree["cloud"]
        symbols = [symbol_from_tree(row) for row in items(record, "coordinates")]
        return PointCloud(symbols, shelf.take(entry(record, "points")), shelf.take(entry(record, "normals")))
    if form == "point" and all(isinstance(pair, list) and len(pair) == 2 for pair in items(tree, "point")):
        return {symbol_from_tree(symbol): _value_from_tree(value, shelf) for symbol, value in tree["point"]}
    refuse(tree, "a location: a part, parts, a domain or a point")


def _value_to_tree(value: Any, shelf: ArrayShelf) -> Tree:
    return expression_to_tree(value, shelf) if isinstance(value, sp.Basic) else number_to_tree(value)


def _value_from_tree(tree: Tree, shelf: ArrayShelf) -> Any:
    if not isinstance(tree, list):
        return number_from_tree(tree)
    value = expression_from_tree(tree, shelf)
    if not isinstance(value, sp.Expr):
        refuse(tree, "a scalar expression")
    return value
