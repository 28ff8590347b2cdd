"""Chart: the computational box in scaled coordinates, with frequencies that fill a ball."""

from pinnsiren.charts.scales import Scales
from pinnsiren.ir import Chart, ProblemIR, Rewritten


def propose(ir: ProblemIR, rewritten: Rewritten, scales: Scales) -> tuple[Chart, ...]:
    """Always proposed: what is smooth and evenly spread."""
    return (
        Chart(
            name="box",
            reason="smooth parts of the solution; frequencies fill the ball that their number allows",
            coordinates=scales.local(ir.coordinates),
            window=1,
            share=1.0,
            half_lengths=tuple(scales.half_lengths),
        ),
    )
