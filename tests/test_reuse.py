"""Memory passed from step to step: never while somebody holds it."""

import threading

import pytest
import torch

from pinnsiren.compiler.streams import StreamLayout
from pinnsiren.networks import Siren
from pinnsiren.networks.reuse import _RESERVOIR, HELD_BYTES, reusable_empty

SIZE = 1 << 19  # doubles: 4 MiB
LAYOUT = StreamLayout(2, (0, 1), 1)
LAPLACIAN = torch.eye(2, dtype=torch.float64)[None]


@pytest.fixture(autouse=True)
def _own_blocks():
    _RESERVOIR.blocks.clear()
    yield
    _RESERVOIR.blocks.clear()


@pytest.fixture
def like():
    return torch.zeros(1, dtype=torch.float64)


def test_a_released_block_is_used_again(like):
    first = reusable_empty(like, SIZE)
    address = first.data_ptr()
    del first
    assert reusable_empty(like, SIZE).data_ptr() == address


def test_a_block_stays_with_whoever_holds_a_view_of_it(like):
    first = reusable_empty(like, SIZE)
    view, address = first[10:20].view(2, 5), first.data_ptr()
    del first
    assert reusable_empty(like, SIZE).data_ptr() != address
    assert view.shape == (2, 5)


def test_other_sizes_types_and_threads_get_their_own(like):
    address = reusable_empty(like, SIZE).data_ptr()
    assert reusable_empty(like, 2 * SIZE).data_ptr() != address
    assert reusable_empty(like.float(), SIZE).data_ptr() != address
    found = []
    thread = threading.Thread(target=lambda: found.append(reusable_empty(like, SIZE).data_ptr()))
    thread.start()
    thread.join()
    assert found[0] != address and reusable_empty(like, SIZE).data_ptr() == address


def test_what_is_held_is_bounded(like):
    for n in range(8):
        reusable_empty(like, SIZE * (4 + n))
    assert sum(block.numel() * block.element_size() for block, _ in _RESERVOIR.blocks) <= HELD_BYTES
    assert reusable_empty(like, HELD_BYTES).numel() == HELD_BYTES and len(_RESERVOIR.blocks) < 8


def steps():
    module = Siren(width=64, depth=3, omega_0=4.0).build(2, 1, seed=1)
    generator = torch.Generator().manual_seed(0)
    cases = []
    for _ in range(2):
        inputs = torch.randn((4, 1000, 2), generator=generator, dtype=torch.float64)
        cases.append(inputs)
    return module, cases


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients])


def test_two_graphs_that_live_together_do_not_share():
    module, cases = steps()
    parameters = list(module.parameters())
    expected = [flat(torch.autograd.grad(module.taped_streams(inputs, LAPLACIAN, LAYOUT).sum(), parameters)) for inputs in cases]
    outputs = [module.streams(inputs, LAPLACIAN, LAYOUT).sum() for inputs in cases]
    assert _RESERVOIR.blocks
    for output, exact in zip(outputs, expected, strict=True):
        for retain in (True, False):  # a graph that is kept can be swept again, whatever ran in between
            module.streams(cases[1], LAPLACIAN, LAYOUT).sum().backward()
            assert float((flat(torch.autograd.grad(output, parameters, retain_graph=retain)) - exact).norm()) < 1e-12 * float(exact.norm())


def test_a_graph_that_was_swept_leaves_its_blocks_to_the_next_step():
    module, cases = steps()
    losses = []
    for _ in range(4):
        losses.append(module.streams(cases[0], LAPLACIAN, LAYOUT).sum())
        losses[-1].backward()
    # Four losses are alive, but their graphs have let go: two blocks for two sine layers behind the first, and one for the first where it is large.
    sizes = [block.numel() for block, _ in _RESERVOIR.blocks]
    assert 2 <= len(sizes) <= 3
