"""Inversion through a grid solver: the medium is a network, the fields come from the discrete wave equation with its exact derivative."""
