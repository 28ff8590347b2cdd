"""From a declared problem to the residuals of a network."""
