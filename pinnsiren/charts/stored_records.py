"""Records that belong to charts, as JSON trees: their class by name and their attributes, which are numbers, texts and tuples of them.

Input: a frozen record. Output: a tree, and the record again; only subclasses of the given base in this package are known.
"""

from dataclasses import asdict
from typing import Any


def record_to_tree(record: Any) -> dict[str, Any] | None:
    """Return what storage has to keep of a record; None stays None."""
    return None if record is None else {"class": type(record).__name__, **asdict(record)}


def record_from_tree(base: Any, tree: dict[str, Any] | None) -> Any:
    """Rebuild a record of a subclass of `base`."""
    if tree is None:
        return None
    known = {cls.__name__: cls for cls in base.__subclasses__()}
    attributes = {name: _tuples(value) for name, value in tree.items() if name != "class"}
    return known[str(tree["class"])](**attributes)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value
