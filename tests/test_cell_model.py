"""Sine features on cells that overlap: derivatives, a smooth sum, and files."""

import numpy as np
import pytest

import pinnsiren as ps
from pinnsiren.training.cell_model import STEP, CellModel, cell_features, cell_model_from_state, extended

STEP_SIZE = 1e-4
DIFFERENCES = 1e-4  # of central differences of second order, relative, at frequencies up to 10 in cells of half side 0.2


def halves(boxes, axis):
    parts = []
    for box in boxes:
        lower, upper = box.copy(), box.copy()
        lower[axis, 1] = upper[axis, 0] = box[axis].mean()
        parts += [lower, upper]
    return parts


def model(dimension, seed=0):
    """Cells of different sizes beside each other."""
    chance = np.random.default_rng(seed)
    boxes = [np.array([[-1.0, 1.0]] * dimension)]
    for axis in range(dimension):
        boxes = halves(boxes[:-1], axis) + halves(boxes[-1:], axis)
    boxes = boxes[1:] + halves(boxes[:1], 0)
    return CellModel(np.array(boxes), chance.normal(size=(5, dimension)), chance.uniform(0, 6, 5), chance.normal(size=(len(boxes), 10)))


@pytest.mark.parametrize("orders", [(1, 0), (0, 1), (2, 0), (1, 1), (0, 2)])
def test_derivatives_agree_with_differences(orders):
    field, points = model(2), np.random.default_rng(1).uniform(-0.95, 0.95, (300, 2))
    lower = next(tuple(o - (i == axis) for i, o in enumerate(orders)) for axis in range(2) if orders[axis] > 0)
    axis = next(axis for axis in range(2) if orders[axis] > 0)
    shift = STEP_SIZE * np.eye(2)[axis]
    difference = (field.evaluate(0, points + shift, lower) - field.evaluate(0, points - shift, lower)) / (2 * STEP_SIZE)
    found = field.evaluate(0, points, orders)
    assert np.max(np.abs(found - difference)) < DIFFERENCES * np.max(np.abs(found))


def test_cells_that_agree_make_one_field():
    """The windows are divided by their sum, so that a function that every cell represents comes out as it is."""
    field = model(3)
    constant = CellModel(field.boxes, np.zeros((1, 3)), np.zeros(1), np.tile([2.5, 0.0], (len(field.boxes), 1)))
    points = np.random.default_rng(2).uniform(-1, 1, (500, 3))
    assert np.allclose(constant.evaluate(0, points, (0, 0, 0)), 2.5, atol=1e-14)
    assert np.max(np.abs(constant.evaluate(0, points, (1, 0, 1)))) < 1e-9


def test_the_step_is_flat_at_both_ends():
    for order in (1, 2, 3):
        assert abs(STEP.deriv(order)(-1)) < 1e-12 and abs(STEP.deriv(order)(1)) < 1e-12
    assert abs(STEP(-1)) < 1e-15 and STEP(1) == pytest.approx(1)


def test_the_features_of_a_cell_are_what_the_model_sums():
    field = model(2)
    box = field.boxes[0]
    alone = CellModel(field.boxes[:1], field.waves, field.phases, field.coefficients[:1])
    around = extended(box)
    points = around[:, 0] + np.ptp(around, axis=1) * np.random.default_rng(3).uniform(0.01, 0.99, (50, 2))
    rows = cell_features(points, box, field.waves, field.phases)
    assert np.allclose(alone.evaluate(0, points, (0, 0))[:, 0], rows @ field.coefficients[0])


def test_what_does_not_belong_together_is_refused():
    state = model(2).state()
    assert np.array_equal(cell_model_from_state(state).boxes, state["boxes"])
    with pytest.raises(ps.StorageError, match="do not fit together"):
        cell_model_from_state({**state, "coefficients": state["coefficients"][1:]})
