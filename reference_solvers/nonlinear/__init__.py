"""The machinery of the solvers of nonlinear problems, which live in `nonlinear_box` (steady) and `method_of_lines` (in time).

The modules in the order in which they build on each other: `jets` (equations as expressions of derivatives), `tensor_operators` (difference
operators), `jet_evaluation` (values and Jacobians on a grid), `field_faces` and `walls` (conditions), `newton` and `marching` (the iterations),
`steady_system` and `evolution_system` (a declaration on one grid), `refinement` (error estimates from several).
"""
