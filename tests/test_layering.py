"""The import law, enforced on the syntax trees of the four installed folders.

Inside ``pinnsiren/`` imports point one way, in the order of `ROOMS`. The outer folders see of the core what
`OUTER_MAY_IMPORT` grants them. Nothing here imports the package: a module that cannot be imported is judged
all the same.
"""

import ast
import graphlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

CORE = "pinnsiren"

ROOMS = (
    "errors",
    "status",
    "storage_format",
    "language",
    "ir",
    "charts",
    "compiler",
    "networks",
    "training",
    "solution",
    "storage",
    "solving",
    "cli",
    "__main__",
)
OUTER = ("reference_solvers", "problems", "validation")

# An entry that ends in ".*" grants a package with everything in it, any other exactly the module named.
OUTER_MAY_IMPORT: Mapping[str, tuple[str, ...]] = {
    "reference_solvers": ("pinnsiren.reference_solvers.*", "pinnsiren.errors", "pinnsiren.language.*"),
    "problems": (
        "pinnsiren.problems.*",
        "pinnsiren.reference_solvers.closed_forms.*",
        "pinnsiren",
        "pinnsiren.errors",
        "pinnsiren.language",
        "pinnsiren.language.domains",
    ),
    "validation": ("pinnsiren.*",),
}
CORE_MAY_REACH_OUT: Mapping[str, tuple[str, ...]] = {
    "pinnsiren.cli": ("pinnsiren.*",),
    "pinnsiren.training.reduced.*": ("pinnsiren.reference_solvers.*",),
}
# One back end, in one place; the networks know tensors, not symbols.
TORCH_LIVES_IN = ("pinnsiren.compiler.torch_program", "pinnsiren.networks.*", "pinnsiren.training.*")
SYMPY_STAYS_OUT_OF = ("pinnsiren.networks.*",)
# The command line stands last, so it can hide no circle; `pinnsiren list` and a mistyped name must not wait for torch. The kernels need Triton, which
# only GPU builds of torch bring along. By `import_module("...")` only, so that the edge is still checked.
MAY_DEFER = ("pinnsiren.cli", "pinnsiren.networks.fused_sine", "pinnsiren.networks.split_products")


@dataclass(frozen=True)
class Module:
    """One source file under its installed name."""

    name: str
    source: str
    is_package: bool = False


@dataclass(frozen=True)
class Import:
    """One edge: `target` is absolute; `relative` and `local` keep how and where it was written."""

    importer: str
    target: str
    line: int
    relative: bool
    local: bool

    def __str__(self) -> str:
        return f"`{self.importer}` line {self.line} imports `{self.target}`"


def modules_in(package_folders: Mapping[str, Path]) -> list[Module]:
    """Every module under its installed name, from the mapping that the build uses."""
    found = []
    for prefix, folder in package_folders.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join((prefix, *(parts[:-1] if is_package else parts)))
            found.append(Module(name, path.read_text(encoding="utf-8"), is_package))
    return found


def granted(name: str, patterns: tuple[str, ...]) -> bool:
    return any(
        name == pattern.removesuffix(".*") or (pattern.endswith(".*") and name.startswith(pattern[:-1]))
        for pattern in patterns
    )


def ancestors(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def outer_folder(name: str) -> str | None:
    """Which outer folder a module belongs to; None for the core."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in OUTER else None


def is_core(target: str) -> bool:
    return target.split(".")[0] == CORE


def literal_module_import(node: ast.Call) -> str | None:
    """The module named in ``import_module("...")`` or ``__import__("...")``: an import in other words."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if called not in {"import_module", "__import__"} or not node.args:
        return None
    first = node.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def nodes_with_scope(tree: ast.AST, local: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, with whether it stands inside a function."""
    for child in ast.iter_child_nodes(tree):
        yield child, local
        inside = local or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from nodes_with_scope(child, inside)


def absolute_base(module: Module, node: ast.ImportFrom) -> str:
    if node.level == 0:
        return node.module or ""
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    kept = package[: len(package) - (node.level - 1)]
    return ".".join([*kept, *([node.module] if node.module else [])])


def imports_of(module: Module, known: set[str]) -> Iterator[Import]:
    """Every import, also for type checkers; ``from package import name`` means a submodule if it is one."""
    for node, local in nodes_with_scope(ast.parse(module.source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module.name, alias.name, line, relative=False, local=local)
        elif isinstance(node, ast.ImportFrom):
            base = absolute_base(module, node)
            outer = {f"{CORE}.{folder}" for folder in OUTER}
            names = {f"{base}.{alias.name}" for alias in node.names}
            targets = {name if name in known | outer else base for name in names}
            for target in sorted(targets):
                yield Import(module.name, target, line, relative=node.level > 0, local=local)
        elif isinstance(node, ast.Call) and (name := literal_module_import(node)):
            yield Import(module.name, name, line, relative=False, local=local)


def room(name: str) -> int | None:
    """Position of a core module in the order; None for the root, which gathers the public names."""
    parts = name.split(".")
    return ROOMS.index(parts[1]) if len(parts) > 1 else None


def core_breach(edge: Import) -> str | None:
    target_folder = outer_folder(edge.target)
    if target_folder is not None:
        allowed = any(granted(edge.target, targets) for importer, targets in CORE_MAY_REACH_OUT.items() if granted(edge.importer, (importer,)))
        return None if allowed else f"the core does not import `{target_folder}`"
    importer_room, target_room = room(edge.importer), room(edge.target)
    if importer_room is None:
        return None
    if target_room is None:
        return "the root gathers the rooms, so import the room itself"
    if target_room > importer_room:
        return f"`{ROOMS[importer_room]}` stands before `{ROOMS[target_room]}`"
    return None


def outer_breach(edge: Import) -> str | None:
    folder = outer_folder(edge.importer)
    assert folder is not None
    if not granted(edge.target, OUTER_MAY_IMPORT[folder]):
        return f"`{folder}` may import only {', '.join(OUTER_MAY_IMPORT[folder])}"
    # Editors resolve the core by its installed name and the outer folders by their place on the disk.
    if outer_folder(edge.target) is None and edge.relative:
        return "write the core by its full name from an outer folder"
    if outer_folder(edge.target) is not None and not edge.relative:
        return "write another outer folder relatively"
    return None


def third_party_breach(edge: Import) -> str | None:
    library = edge.target.split(".")[0]
    if library == "torch" and not granted(edge.importer, TORCH_LIVES_IN):
        return f"torch is reached only from {', '.join(TORCH_LIVES_IN)}"
    if library == "sympy" and granted(edge.importer, SYMPY_STAYS_OUT_OF):
        return "networks know tensors, not symbols"
    return None


def breach(edge: Import, known: set[str]) -> str | None:
    if not is_core(edge.target):
        return third_party_breach(edge)
    if edge.target not in known:
        return "no such module is installed"
    if edge.local and edge.importer not in MAY_DEFER:
        return "an import inside a function hides a circle; move it to the top or move the code"
    return core_breach(edge) if outer_folder(edge.importer) is None else outer_breach(edge)


def circle(edges: list[Import]) -> list[str]:
    """The modules of one import circle; importing a module also runs the packages above it."""
    graph: dict[str, set[str]] = {}
    for edge in edges:
        own = {edge.importer, *ancestors(edge.importer)}
        implied = {package for package in ancestors(edge.target) if package not in own}
        graph.setdefault(edge.importer, set()).update({edge.target} | implied)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))
    return []


def violations(modules: list[Module]) -> list[str]:
    """Every breach of the law, one line each."""
    known = {module.name for module in modules}
    core = [name for name in known if outer_folder(name) is None and name != CORE]
    homeless = {name for name in core if name.split(".")[1] not in ROOMS}
    found = [f"`{name}` has no room in the import law" for name in sorted(homeless)]
    edges = [edge for module in modules if module.name not in homeless for edge in imports_of(module, known)]
    for edge in edges:
        if edge.target in homeless:
            continue
        if reason := breach(edge, known):
            found.append(f"{edge}: {reason}")
    if members := circle([edge for edge in edges if edge.target in known]):
        found.append("import circle (what TYPE_CHECKING guards counts too): " + " -> ".join(members))
    return found


def test_the_installed_folders_keep_the_import_law(package_folders):
    assert violations(modules_in(package_folders)) == []


def test_every_installed_folder_is_walked(package_folders):
    names = {module.name for module in modules_in(package_folders)}
    assert {CORE, *(f"{CORE}.{folder}" for folder in OUTER)} <= names


def test_nothing_in_the_core_folder_hides_an_outer_one(package_folders):
    core = package_folders[CORE]
    assert [folder for folder in OUTER if (core / folder).exists() or (core / f"{folder}.py").exists()] == []


# A small package that keeps the law; each case below adds one module to it.
LAWFUL = [
    Module("pinnsiren", "from .language import field\nfrom .solving import solve", is_package=True),
    Module("pinnsiren.errors", ""),
    Module("pinnsiren.language", "from .symbols import field", is_package=True),
    Module("pinnsiren.language.symbols", "import sympy\nfrom ..errors import ProblemError"),
    Module("pinnsiren.training", "from .loop import run", is_package=True),
    Module("pinnsiren.training.loop", "import torch\nfrom pinnsiren.language import field"),
    Module("pinnsiren.training.reduced", "from .media import m", is_package=True),
    Module("pinnsiren.training.reduced.media", "from pinnsiren.reference_solvers import find"),
    Module("pinnsiren.solving", "from .training import run"),
    Module("pinnsiren.cli", "from .problems import names\nfrom .validation import validate"),
    Module("pinnsiren.reference_solvers", "from pinnsiren.language import field", is_package=True),
    Module("pinnsiren.reference_solvers.closed_forms", "", is_package=True),
    Module("pinnsiren.problems", "", is_package=True),
    Module("pinnsiren.problems.disc", "import pinnsiren\nfrom ..reference_solvers.closed_forms import x"),
    Module("pinnsiren.validation", "from ..reference_solvers import find", is_package=True),
]

BREACHES = {
    "against the order": (
        Module("pinnsiren.ir", "from .training import run"),
        "`ir` stands before `training`",
    ),
    "by submodule name": (Module("pinnsiren.ir", "from . import training"), "`ir` stands before `training`"),
    "for the type checker": (
        Module("pinnsiren.ir", "if TYPE_CHECKING:\n    import pinnsiren.training.loop"),
        "`ir` stands before `training`",
    ),
    "the root from a room": (Module("pinnsiren.ir", "from pinnsiren import solve"), "import the room itself"),
    "an outer folder from the core": (
        Module("pinnsiren.solution", "from .reference_solvers import find"),
        "the core does not import `reference_solvers`",
    ),
    "inside a function": (
        Module("pinnsiren.storage", "def load():\n    from .errors import E"),
        "inside a function hides a circle",
    ),
    "by import_module inside a function": (
        Module("pinnsiren.storage", "def load():\n    return importlib.import_module('pinnsiren.errors')"),
        "inside a function hides a circle",
    ),
    "torch in a grid solver": (
        Module("pinnsiren.reference_solvers.poisson", "from torch import nn"),
        "torch is reached only from",
    ),
    "torch in the solution": (
        Module("pinnsiren.solution", "def f():\n    import torch"),
        "torch is reached only from",
    ),
    "symbols in a network": (Module("pinnsiren.networks", "import sympy as sp", True), "not symbols"),
    "training in a grid solver": (
        Module("pinnsiren.reference_solvers.poisson", "from pinnsiren.training import run"),
        "`reference_solvers` may import only",
    ),
    "internals in a problem": (
        Module("pinnsiren.problems.eikonal", "from pinnsiren.language.symbols import field"),
        "`problems` may import only",
    ),
    "a grid solver in a problem": (
        Module("pinnsiren.problems.eikonal", "from ..reference_solvers import find"),
        "`problems` may import only",
    ),
    "the core written relatively": (
        Module("pinnsiren.validation.report", "from ..language import field"),
        "by its full name",
    ),
    "an outer folder written absolutely": (
        Module("pinnsiren.validation.report", "from pinnsiren.problems import names"),
        "relatively",
    ),
    "a room that nobody listed": (Module("pinnsiren.utils", ""), "`pinnsiren.utils` has no room"),
    "a module that is not there": (
        Module("pinnsiren.ir", "from .lagnuage import field"),
        "`pinnsiren.lagnuage`: no such module",
    ),
    "a circle through a package": (
        Module("pinnsiren.training", "from .loop import run\nfrom .adam import step", True),
        "import circle",
    ),
}


def test_a_lawful_package_passes():
    assert violations(LAWFUL) == []


def test_the_command_line_may_defer_imports():
    deferring = Module("pinnsiren.cli", "def solve():\n    return importlib.import_module('pinnsiren.solving')")
    rest = [module for module in LAWFUL if module.name != deferring.name]
    assert violations([*rest, deferring]) == []


@pytest.mark.parametrize("case", BREACHES)
def test_a_breach_is_found_and_named(case):
    offender, expected = BREACHES[case]
    rest = [module for module in LAWFUL if module.name != offender.name]
    if case == "a circle through a package":
        rest.append(Module("pinnsiren.training.adam", "from pinnsiren.training import run"))
    found = violations([*rest, offender])
    assert len(found) == 1, found
    assert expected in found[0]
