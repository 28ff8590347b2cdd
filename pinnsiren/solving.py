"""Solving: ranks what the methods say of themselves, runs the best, returns a solution that knows how wrong it is.

Input: a problem. Output: `Plan` and `Solution`.
"""

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sympy as sp

from pinnsiren.compiler.open_faces import check_open_faces
from pinnsiren.compiler.pipeline import CompiledProblem, compile_problem
from pinnsiren.compiler.plan import Plan
from pinnsiren.errors import CompileError, ProblemError, TrainingError
from pinnsiren.language.problem import Problem
from pinnsiren.language.serialisation import declaration_digest
from pinnsiren.language.symbols import declaration_of
from pinnsiren.networks import AbstractNetwork, Siren
from pinnsiren.solution import History, Solution
from pinnsiren.status import Status
from pinnsiren.storage import save_solution
from pinnsiren.storage_format import package_version
from pinnsiren.training.checkpoint import fingerprint
from pinnsiren.training.cloud_distance import CloudDistance
from pinnsiren.training.cosine_least_squares import CosineLeastSquares
from pinnsiren.training.deadline import UNSEEN, OutOfTimeError
from pinnsiren.training.device import PRECISIONS, WITHOUT_NETWORK, resolve_device, resolve_precision, torch_version
from pinnsiren.training.diffusion_march import DiffusionMarch
from pinnsiren.training.first_arrivals import FirstArrivals
from pinnsiren.training.gauss_newton import GaussNewton
from pinnsiren.training.gradient_methods import LBFGS
from pinnsiren.training.joint_least_squares import JointLeastSquares
from pinnsiren.training.joint_profile import ScalarProfile
from pinnsiren.training.least_squares import LeastSquares
from pinnsiren.training.loop import train
from pinnsiren.training.method import AbstractMethod, RunSettings
from pinnsiren.training.network_fronts import COARSE_SHARE, with_fronts
from pinnsiren.training.network_waves import wanted_rewrites
from pinnsiren.training.parallel import launched_processes
from pinnsiren.training.penalty.method import PenaltyInversion
from pinnsiren.training.plane_waves import PlaneWaves
from pinnsiren.training.progress import show_progress
from pinnsiren.training.records import METHODS, NETWORKS, named_record
from pinnsiren.training.reduced.reduced_inversion import ReducedInversion
from pinnsiren.training.stretched_least_squares import StretchedLeastSquares
from pinnsiren.training.time_windows import TimeWindows
from pinnsiren.training.wave_lattice import WaveLattice
from pinnsiren.training.wave_march import WaveMarch
from pinnsiren.training.wave_modes import WaveModes

Reasons = tuple[tuple[str, str], ...]  # name of a method, what it said

DEFAULT_TOLERANCE = 1e-3
DEFAULT_SECONDS = 60.0
# Methods that a formulation names.
FORMULATIONS: dict[str, AbstractMethod | None] = {"auto": None, "direct": None, "reduced": ReducedInversion(), "penalty": PenaltyInversion()}
CANDIDATES: tuple[AbstractMethod, ...] = (
    LeastSquares(),
    CosineLeastSquares(),
    StretchedLeastSquares(),
    FirstArrivals(),
    CloudDistance(),
    WaveLattice(),
    PlaneWaves(),
    WaveModes(),
    WaveMarch(),
    DiffusionMarch(),
    TimeWindows(),
    ReducedInversion(),
    JointLeastSquares(),
    ScalarProfile(),
    LBFGS(),
    GaussNewton(),
)


def plan(problem: Problem, *, method: Any = "auto", network: Any = None) -> Plan:
    """Compile a problem and choose a method by what the methods say of themselves.

    Args:
        problem: the declaration.
        method: a record such as `LeastSquares()`, its name, or `"auto"`.
        network: a record such as `Siren()`; with `method="auto"` it asks for a trained network.

    Raises:
        CompileError: no method fits; the message lists each refusal.
        ProblemError: a method or network that is none.
    """
    _check_problem(problem)
    compiled = compile_problem(problem)
    if isinstance(network, str):
        network = named_record(network, NETWORKS)
    if network is not None and not isinstance(network, AbstractNetwork):
        raise ProblemError(f"network={network!r} is no network record; expected for instance Siren(width=64, depth=2)")
    chosen, reasons, missed = _choose(compiled, method, network)
    if not chosen.knows_free_space:
        check_open_faces(problem)
    trained = _network_for(chosen, network)
    if trained is not None and (size := chosen.on_network(compiled, trained)):
        reasons = (*reasons, (f"{chosen.name} on this network", size))
    made = Plan(problem=problem, method=chosen, network=trained, reasons=reasons, missed=missed, compiled=compiled)
    for name in wanted_rewrites(compiled, made.network):
        made = made.including(name)
    return made


def _choose(compiled: CompiledProblem, method: Any, network: Any) -> tuple[AbstractMethod, Reasons, Reasons]:
    """Return the method, what each said, and what those said that were made for such problems and do not fit."""
    if isinstance(method, str) and method != "auto":
        method = named_record(method, METHODS)
    if method != "auto":
        if not isinstance(method, AbstractMethod):
            raise ProblemError(f"method={method!r} is no method record; expected \"auto\" or one of {', '.join(METHODS)}, such as LeastSquares()")
        if network is not None and not method.trains_network:
            raise ProblemError(f"network={network!r} was given with {method.name}, which trains no network; leave one of them out")
        suitability = method.judge(compiled)
        if not suitability.ok:
            raise CompileError(f"{method.name} does not fit the problem `{compiled.original.name}`: {suitability.reason}")
        return method, ((method.name, f"chosen by hand; {suitability.reason}"),), ()
    candidates = [candidate for candidate in CANDIDATES if network is None or candidate.trains_network]
    judged = sorted(((candidate.judge(compiled), candidate) for candidate in candidates), key=lambda pair: pair[0].cost)
    reasons = tuple((candidate.name, judgement.reason) for judgement, candidate in judged)
    if not judged or not judged[0][0].ok:
        refusals = "; ".join(f"{name}: {reason}" for name, reason in reasons)
        raise CompileError(f"no method fits the problem `{compiled.original.name}`. {refusals}")
    missed = tuple((candidate.name, judgement.reason) for judgement, candidate in judged if judgement.made_for and not judgement.ok)
    return judged[0][1], reasons, missed


def _method_of(formulation: str, method: Any) -> Any:
    """Return the method that a formulation names, where the user left it open."""
    named = FORMULATIONS[formulation]
    if named is None or type(method) is type(named):
        return method
    if method != "auto" and method != named.name:
        raise ProblemError(f"formulation=\"{formulation}\" and method={method!r} were given; the formulation is that of {named.name}: leave one out")
    return named


def _network_for(method: AbstractMethod, network: Any) -> Any:
    if not method.trains_network:
        return None
    return network if network is not None else Siren(width=64, depth=2)


def solve(
    problem: Problem,
    *,
    plan: Plan | None = None,
    method: Any = "auto",
    formulation: str = "auto",
    network: Any = None,
    tolerance: float | None = None,
    seconds: float | None = None,
    device: str = "auto",
    precision: str = "auto",
    seed: int = 0,
    progress: bool = True,
    checkpoint: str | Path | None = None,
) -> Solution:
    """Solve a problem.

    Args:
        problem: the declaration.
        plan: an edited plan of the same problem; None makes one.
        method: a record, its name, or `"auto"`: the structure decides.
        formulation: of an inverse problem, `"auto"`, `"direct"`, `"reduced"`: the fields follow from the medium through a grid solver, or
            `"penalty"`: fields and medium are networks, the equation holds by multipliers.
        network: record of a network for trained methods.
        tolerance: wanted relative L2 error, 1e-3 when None; an explicit one stops the run as soon as it is met.
        seconds: budget, 60 when None.
        device: `"auto"`, `"cpu"`, `"cuda"` or another torch device.
        precision: `"auto"` (float64), `"float64"`, `"float32"`, or `"3xtf32"`: float32 for sine networks on a GPU with TF32 tensor cores, whose
            large products run there split in three, as accurate and faster; elsewhere it is `"float32"`. Methods that train no network compute in
            float64 whatever is asked for. `solution.precision` is what was used; the log and `solution.plan` say why where that is another.
        seed: of every random choice; the same seed gives the same history.
        progress: show the residual at fresh points and the time left.
        checkpoint: file to write to, and to resume from when it exists and belongs to the same run.

    Returns:
        The solution; ask `solution.status` whether the tolerance was met.

    Raises:
        ProblemError: settings out of range.
        CompileError: no method fits.
        TrainingError: the device is absent, or the checkpoint belongs to another run.
    """
    _check_problem(problem)
    settings = _settings(tolerance, seconds, device, precision, seed)
    if plan is not None and not isinstance(plan, Plan):
        raise ProblemError(f"plan={plan!r} is no plan; expected None, or what plan(problem) returned")
    if formulation not in FORMULATIONS:
        raise ProblemError(f"formulation=\"{formulation}\" is unknown; expected one of {tuple(FORMULATIONS)}")
    method = _method_of(formulation, method)
    used = plan if plan is not None else _make_plan(problem, method, network)
    if used.problem is not problem and declaration_digest(used.problem) != declaration_digest(problem):
        raise ProblemError(f"the plan was made for `{used.problem.name}`; problem `{problem.name}` needs a plan of its own: plan(problem)")
    if plan is not None and method != "auto":
        used = used.with_method(_choose(used.compiled, method, network)[0], network)
    elif plan is not None and not used.method.judge(used.compiled).ok:
        # A rewrite that was added or left out may have taken away what the chosen method lives on.
        used = used.with_method(_choose(used.compiled, "auto", network)[0], network)
    if plan is not None:
        used = replace(used, network=_network_for(used.method, used.network))
    resolved = resolve_precision(settings.precision, settings.device, used.network)
    if resolved != settings.precision:
        asked = f"{settings.precision} was asked for; " + (WITHOUT_NETWORK if used.network is None else "the device or the network has no use for it")
        used = replace(used, reasons=(*used.reasons, (f"computed in {resolved}", asked)))
    settings = replace(settings, precision=resolved)
    if plan is None and used.network is not None:
        begin = settings.clock()
        try:
            used = with_fronts(used, settings)
        except OutOfTimeError:
            settings = replace(settings, least_error=UNSEEN)
        settings = replace(settings, seconds=max(settings.seconds - (settings.clock() - begin), (1 - COARSE_SHARE) * settings.seconds))
    settings = replace(settings, network=used.network)
    _check_processes(used)
    # Only a checkpoint asks whose run it is, and the tree of a thousand sources is costly.
    prints = None if checkpoint is None else fingerprint(
        declaration=declaration_digest(problem),
        rewrites=", ".join((*used.skipped, *(f"with {name}" for name in used.included))),
        charts=used.compiled.charts,
        method=used.method,
        network=used.network,
        seed=settings.seed,
        precision=settings.precision,
    )
    run = used.method.start(used.compiled, settings)
    with show_progress(problem.name, progress) as callback:
        record = train(run, settings, callback, checkpoint, prints)
    if used.network is not None:
        used = replace(used, network=run.resolved_network)
    return Solution(
        problem=problem,
        plan=used,
        status=_with_missed(_with_free_constants(record.status, used.compiled), used),
        estimated_error=run.error_estimate(),
        history=History(record.history),
        tolerance=settings.tolerance,
        seconds=record.seconds,
        seed=settings.seed,
        device=settings.device,
        precision=settings.precision,
        versions=versions(),
        model=run.model(),
        writer=save_solution,
    )


def _with_free_constants(status: Status, compiled: CompiledProblem) -> Status:
    """Say in the status which fields the declaration leaves open by a constant, which the estimated error does not count."""
    names = ", ".join(f"`{declaration_of(compiled.original.fields[index]).name}`" for index in compiled.free_constants)
    if not names:
        return status
    return replace(status, text=f"{status.text}. {names} is defined up to a constant, which is not counted: compare after removal of the mean")


def _with_missed(status: Status, used: Plan) -> Status:
    """Say in the status which methods were made for such a problem and did not take it: what was asked for may be another answer than this one."""
    if not used.missed:
        return status
    said = "; ".join(f"{name}, which was made for such problems, did not take it: {reason}" for name, reason in used.missed)
    return replace(status, text=f"{status.text}. This is the answer of {used.method.name}; {said}")


def _make_plan(problem: Problem, method: Any, network: Any) -> Plan:
    """Call `plan`, whose name the argument of `solve` hides."""
    return plan(problem, method=method, network=network)


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {
        "pinnsiren": package_version(),
        "python": platform.python_version(),
        "torch": torch_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "sympy": sp.__version__,
    }


def _check_processes(used: Plan) -> None:
    """Refuse to compute the same thing in every process of `torchrun`."""
    n_processes = launched_processes()
    if n_processes > 1 and (reason := used.method.refuses_processes(used.compiled)):
        raise TrainingError(
            f"torchrun started {n_processes} processes, and {used.method.name} runs in one: {reason}. Start it without torchrun, or give a method "
            "that splits its points (Adam, LBFGS, GaussNewton, or Stages of them), or LeastSquares on a field with shots"
        )


def _check_problem(problem: Any) -> None:
    if not isinstance(problem, Problem):
        raise ProblemError(f"`{problem!r}` is no problem; expected a Problem(name=..., fields=..., ...), or problems.load(name)")


def _settings(tolerance: float | None, seconds: float | None, device: str, precision: str, seed: int) -> RunSettings:
    for name, value in (("tolerance", tolerance), ("seconds", seconds)):
        if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool) or not (np.isfinite(value) and value > 0)):
            raise ProblemError(f"{name}={value!r} was given; expected a positive number")
    if not isinstance(device, str):
        raise ProblemError(f"device={device!r} was given; expected \"auto\", \"cpu\" or \"cuda\"")
    if precision not in PRECISIONS:
        raise ProblemError(f"precision=\"{precision}\" is unknown; expected one of {PRECISIONS}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ProblemError(f"seed={seed!r} was given; expected a whole number that is not negative")
    return RunSettings(
        seed=int(seed),
        tolerance=DEFAULT_TOLERANCE if tolerance is None else float(tolerance),
        refine_while_cheap=tolerance is None,
        seconds=DEFAULT_SECONDS if seconds is None else float(seconds),
        device=resolve_device(device),
        precision="float64" if precision == "auto" else precision,
        network=None,
    )

