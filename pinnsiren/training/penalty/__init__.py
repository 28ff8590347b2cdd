"""Inversion by the penalty formulation: fields and medium are networks, the equation holds by multipliers, fields are eliminated by least squares."""
