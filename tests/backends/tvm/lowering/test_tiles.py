from __future__ import annotations

import pytest

from bmopt.backends.tvm import probe
from tests.backends.tvm.installed import needs_tvm

if not probe.why_not():
    from bmopt.backends.tvm.lowering.blocked import Halo, widest
    from bmopt.backends.tvm.lowering.machine import Machine
    from bmopt.backends.tvm.lowering.tiles import Work, choose

pytestmark = needs_tvm


@pytest.mark.parametrize("columns", [1, 5, 7, 14, 28, 31, 112])
@pytest.mark.parametrize("blocks", [1, 3, 4, 63])
@pytest.mark.parametrize("registers", [16, 32])
def test_a_tile_fits_the_registers_and_divides_rows_and_blocks(
    columns: int, blocks: int, registers: int
) -> None:
    work = Work(rows=14, columns=columns, blocks=blocks, steps=144, depthwise=False)
    tile = choose(Machine(16, registers, 1), work)
    assert tile.rows * tile.columns * tile.blocks + tile.blocks < registers
    assert work.rows % tile.rows == 0
    assert work.blocks % tile.blocks == 0


def test_a_tile_hides_the_time_that_results_take() -> None:
    tile = choose(Machine(16, 32, 1), Work(5, 5, 4, 576, depthwise=False))
    assert tile.rows * tile.columns * tile.blocks >= 8


def test_channels_that_fill_no_vector_get_a_smaller_block() -> None:
    machine = Machine(16, 32, 1)
    assert [machine.block(channels) for channels in (1, 3, 8, 12, 16, 24)] == [
        1, 4, 8, 16, 16, 16,
    ]  # fmt: skip


def test_only_long_loops_are_shared_between_threads() -> None:
    assert Machine(16, 32, 2).shares(1e6)
    assert not Machine(16, 32, 2).shares(1e3)
    assert not Machine(16, 32, 1).shares(1e6)


def test_the_widest_halo_covers_all() -> None:
    both = widest([Halo(1, 0, 2, 0), Halo(0, 3, 1, 0)])
    assert both == Halo(1, 3, 2, 0)
    assert both.covers(Halo(1, 1, 1, 0))
    assert not both.covers(Halo(0, 0, 0, 1))
