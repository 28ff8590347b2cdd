"""Cases of `make evidence` for each family of equations: every module exposes `CASES`."""
