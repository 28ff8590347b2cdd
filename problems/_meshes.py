"""Meshes for the catalogue: closed surfaces of triangles that ship inside pyvista, of which only the file is read.

Input: a name. Output: `TriangleMesh`.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pinnsiren.errors import ProblemError, UnknownNameError
from pinnsiren.language import TriangleMesh

# Closed, oriented and without crossings; the ant is fifteen bodies stuck into each other and the airplane is open.
SHIPPED = ("nut", "sphere")


def shipped_mesh(name: str, coordinates: Any) -> TriangleMesh:
    """Return a mesh that ships inside pyvista, in its own units.

    Raises:
        UnknownNameError: a mesh that is not shipped, or not the surface of a body.
        ProblemError: pyvista is not installed.
    """
    if name not in SHIPPED:
        raise UnknownNameError(f"the mesh `{name}` is unknown; shipped inside pyvista and closed are {', '.join(SHIPPED)}")
    found = find_spec("pyvista")
    if found is None or found.origin is None:
        raise ProblemError(f"the mesh `{name}` ships inside pyvista, which is not installed: pip install pinnsiren[pyvista]")
    return TriangleMesh.from_file(coordinates, Path(found.origin).parent / "examples" / f"{name}.ply")
