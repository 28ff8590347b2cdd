"""The plan: what will be done with a declaration, and why; printable, editable, passed back to `solve`.

Input: a compiled problem and the chosen method. Output: `Plan`.
"""

from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any

from pinnsiren.compiler.pipeline import CompiledProblem, compile_problem, is_offered, on_request, rewrites
from pinnsiren.errors import UnknownNameError
from pinnsiren.ir import Chart
from pinnsiren.language.domains import SpaceTime
from pinnsiren.language.problem import Problem


@dataclass(frozen=True)
class Plan:
    """Structure, rewrites, charts, sampling, streams and method of a problem, each with its reason.

    Attributes:
        problem: the declaration.
        skipped: names of optional rewrites that are left out.
        included: names of rewrites on request that are applied.
        charts: charts in use; None takes the proposed ones.
        method: record of the method.
        network: record of the network, for trained methods.
        reasons: why the method was chosen and the others were not, by name.
        missed: methods that were made for such problems and do not take this one, by name, each with its reason.
        compiled: result of the compiler's stages.
    """

    problem: Problem
    method: Any
    network: Any
    reasons: tuple[tuple[str, str], ...]
    skipped: tuple[str, ...] = ()
    charts: tuple[Chart, ...] | None = None
    included: tuple[str, ...] = ()
    missed: tuple[tuple[str, str], ...] = ()
    compiled: CompiledProblem = dataclass_field(compare=False, repr=False, kw_only=True)

    def without(self, name: str) -> "Plan":
        """Return the plan without a rewrite or without the charts of a name.

        Raises:
            UnknownNameError: nothing of that name can be left out; the message lists what can.
        """
        chart_names = {chart.name for chart in self.compiled.charts}
        if name in self.included:
            return self._with_rewrites(self.skipped, tuple(known for known in self.included if known != name))
        optional = [known for known, rewrite in rewrites().items() if rewrite.OPTIONAL and not on_request(rewrite)]
        if name in optional:
            return self._with_rewrites((*self.skipped, name), self.included)
        if name in chart_names:
            return self.with_charts(tuple(chart for chart in self.compiled.charts if chart.name != name))
        known = ", ".join(f"\"{known}\"" for known in (*optional, *sorted(chart_names)))
        raise UnknownNameError(f"the plan was asked to leave out \"{name}\"; it can leave out {known}")

    def including(self, name: str) -> "Plan":
        """Return the plan with a rewrite that is applied on request only, such as `"hard conditions"`.

        Raises:
            UnknownNameError: no rewrite of that name waits for a request; the message lists those that do.
        """
        known = [known for known, rewrite in rewrites().items() if on_request(rewrite)]
        if name not in known:
            raise UnknownNameError(f"the plan was asked to include \"{name}\"; it can include " + ", ".join(f"\"{item}\"" for item in known))
        return self._with_rewrites(self.skipped, tuple(dict.fromkeys((*self.included, name))))

    def _with_rewrites(self, skipped: tuple[str, ...], included: tuple[str, ...]) -> "Plan":
        return replace(self, skipped=skipped, included=included, compiled=compile_problem(self.problem, skipped, self.charts, included))

    def with_charts(self, charts: tuple[Chart, ...]) -> "Plan":
        """Return the plan with other charts."""
        return replace(self, charts=charts, compiled=replace(self.compiled, charts=charts))

    def with_method(self, method: Any, network: Any = None) -> "Plan":
        """Return the plan with another method, and another network if one is given."""
        return replace(self, method=method, network=network or self.network, reasons=(("chosen by hand", type(method).__name__),), missed=())

    def __str__(self) -> str:
        compiled = self.compiled
        lines = [f"plan for `{self.problem.name}`", f"  domain      {self.problem.domain}", f"  structure   {compiled.structure}"]
        for name, reason in compiled.rewritten.applied:
            lines.append(f"  rewrite     {name}: {reason}")
        for name in rewrites():
            if name in self.skipped:
                lines.append(f"  rewrite     {name}: left out by hand")
            elif is_offered(rewrites()[name]) and name not in self.included and compiled.has_value_rows:
                lines.append(f"  conditions  rows with automatic weights; plan.including(\"{name}\") builds them in where the data allow it")
        for label in compiled.ir.by_construction:
            lines.append(f"  exact       {label}: satisfied by construction")
        for residual in compiled.ir.residuals:
            lines.append(f"  residual    {residual.label}")
        for chart in compiled.charts:
            lines.append(f"  chart       {chart.name}: {chart.reason}")
        if compiled.structure.in_fields == "nonlinear" and not isinstance(self.problem.domain, SpaceTime):
            lines.append(
                "  solutions   nonlinear and without a time: there may be several; the run follows one start to one of them, and no estimate of an "
                "error speaks of the others"
            )
        if compiled.scales.wavenumber:
            lines.append(f"  wavenumber  {compiled.scales.wavenumber:.4g} per half side of the computational domain")
        lines.append(f"  streams     {compiled.streams}")
        lines.append("  sampling    scrambled Sobol points in the domain and where charts focus; fresh points for every residual that is reported")
        lines.append(f"  method      {self.method!r}")
        if self.network is not None:
            lines.append(f"  network     {self.network!r}")
        lines += [f"  NOT TAKEN   {name}, which was made for such problems: {reason}" for name, reason in self.missed]
        lines += [f"    {name}: {reason}" for name, reason in self.reasons if (name, reason) not in self.missed]
        return "\n".join(lines)
