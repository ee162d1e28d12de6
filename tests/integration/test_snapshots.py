"""Snapshots over several transactions on the real broker: written beside the steps, named when whole, read back."""

from __future__ import annotations

import time

from actors.engine.pacing import BURST_BYTES
from cluster.local.stack import Endpoints
from tests.integration.line import WAIT_S, TestLine, same_as_undisturbed
from tests.integration.test_slot import run_to_end, step_until


def test_a_snapshot_over_several_transactions_is_read_back_and_a_half_written_one_is_not(stack: Endpoints) -> None:
    line = TestLine(stack, settings={"snapshot_bytes_per_s": 3_000, "snapshot_interval_ms": 100})
    line.write_noise(60)
    slot = line.slot()
    slot.open()
    slot._pacer.allowance(0.0)
    slot._pacer.wrote(BURST_BYTES)  # no room is left: what comes is a page at a time
    step_until(slot, 120)
    stepping_for = time.monotonic() + WAIT_S
    transactions = 0
    while not (transactions > 4 and not slot._writing()):
        if not slot._writing():
            line.write_noise(1)  # the last one may have been small: give it something to keep
        slot.step()
        transactions += slot._writing()
        assert time.monotonic() < stepping_for, "a snapshot goes over several transactions and is named"
    assert slot.status.replay_worst_s > 0
    assert all(fold.position.snapshot_seq > 0 for fold in slot.folds.values())
    line.write_noise(5)
    while not slot._writing():
        slot.step()
        assert time.monotonic() < stepping_for, "another one begins"
    slot.abandon()
    run_to_end(line)
    same_as_undisturbed(line, run_to_end)
