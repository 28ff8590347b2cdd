"""The benchmark of the gradient in time: the gradient is that of its misfit, and a peer that is absent is named."""

import importlib

import pytest

wave_gradient = importlib.import_module("benchmarks.wave_gradient")

QUOTIENT, PEER = 1e-4, 1e-3  # a central difference of a smooth misfit; two propagators of the same orders


@pytest.fixture(scope="module")
def record():
    return wave_gradient.measure((61, 41), 120, 1)


def test_gradients_are_those_of_their_misfits(record):
    assert len(record["seconds"]) + len(record["missing"]) == 3
    assert max(record["error_against_difference_quotient"].values()) < QUOTIENT


def test_deepwave_has_the_same_gradient(record):
    if record["missing"]:
        pytest.skip(record["missing"]["deepwave"])
    assert record["difference_from_ours"]["deepwave"] < PEER
