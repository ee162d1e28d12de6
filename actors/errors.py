"""Errors, and the one action that whoever catches each of them takes.

| error | action |
|---|---|
| ConfigError | do not start; name the setting, its value, its source |
| ReopenError | re-open the slot: the outcome is unknown, or a part is gone |
| GuestFailed | as ReopenError; whoever deployed the detector switches it off (cluster/deployments) |
| FencedError | exit; re-open only if the deal still names this incarnation: the id is another's, or our transaction timed out |
| SupersededError | exit: the deal names another incarnation of the slot |
| StateError | quarantine the partition, report, go on with the others |

A record that cannot be read is no exception: it is a `schemas.batch.DeadLetter`. A detector that raises is caught at the one
place that calls it and becomes a `DetectorFailure` value (actors/engine/family.py).
"""

from __future__ import annotations


class ConfigError(ValueError):
    """A setting is wrong: the program does not start."""


class ReopenError(RuntimeError):
    """The step's outcome is unknown or a part of the slot is gone: drop everything, re-open from what the broker says."""


class GuestFailed(ReopenError):  # noqa: N818 - it says who failed
    """Somebody's detector cannot be loaded, takes too long, or fails where the engine does not catch it: it would again."""


class FencedError(RuntimeError):
    """The transactional id is another's now, or the transaction timed out at the broker: this incarnation is over."""


class SupersededError(RuntimeError):
    """The deal names another incarnation of this slot: this one ends."""


class StateError(RuntimeError):
    """What the state topic holds does not fit together: the partition is quarantined, never guessed."""
