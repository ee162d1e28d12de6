"""The process of one attempt, as Ray's Jobs API starts it: `python -m cluster.jobs.process <Ray> <pipeline> <submission id>`.

It asks the scheduler what it is to do, does it, and says what has come of it. Exit codes: 0 said and heard; 1 it failed, which
was said, or nobody heard it: the scheduler tries again; 3 it is not wanted any more.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError

from actors.errors import ConfigError, FencedError, ReopenError
from actors.names import LOG_FORMAT, NAMESPACE
from cluster.jobs import actor
from cluster.jobs.book import NotWanted
from cluster.jobs.kinds import KINDS
from cluster.jobs.run import Run
from cluster.jobs.stage import Stage, end_in_order
from cluster.operations.actor import ask
from cluster.operations.errors import Refused
from cluster.ray_address import own_signal_handlers
from models.limit_versions import ChangeRefused
from schemas.registry import RegistryUnavailable, SchemaRefused

_LOG = logging.getLogger("chipquality.jobs")

PATIENCE_S = 120.0  # with a scheduler that is being started again
ASK_AGAIN_S = 0.5
FAILED, NOT_WANTED = 1, 3  # exit codes
TOLD = (Refused, ReopenError, FencedError, RegistryUnavailable, SchemaRefused, ConfigError, TimeoutError, ChangeRefused)
"""Errors that say all there is to say."""


class RemoteDesk:
    """The scheduler in its actor; while that is being started again, or cannot write, it is asked again."""

    def __init__(self, pipeline: str) -> None:
        self.pipeline = pipeline

    def ask(self, method: str, *arguments: Any) -> Any:
        """Ask. Raises Refused; after PATIENCE_S what stood in its way."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ask(actor.running(self.pipeline), method, *arguments)
            except Refused:
                raise
            except (RayActorError, ActorUnavailableError, GetTimeoutError, RuntimeError, ValueError) as error:
                if time.monotonic() > deadline:
                    raise
                _LOG.warning("the scheduler: %s", error)
                time.sleep(ASK_AGAIN_S)

    def note(self, submission_id: str, notes: Mapping[str, Any]) -> None:
        """Keep what further attempts have to know."""
        self.ask("note", submission_id, notes)

    def swap(self, submission_id: str, made: Mapping[str, Any], keep: int) -> Run:
        """Have what the run has made be the current version."""
        run: Run = self.ask("swap", submission_id, made, keep)
        return run

    def tell(self, submission_id: str, done: int, of: int, what: str) -> None:
        """Say how far it is."""
        self.ask("tell", submission_id, done, of, what)


def attempt(desk: RemoteDesk, submission_id: str) -> int:
    """Do what an attempt is to do; return the exit code."""
    try:
        settings, run = desk.ask("assignment", submission_id)
        stage = Stage(settings.cluster, settings.pipeline, settings.store, run, desk)
        outcome = KINDS[run.kind].run(stage)
    except NotWanted as error:
        _LOG.error("%s", error)
        return NOT_WANTED
    except TOLD as error:
        return _failed(desk, submission_id, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and logged in full
        _LOG.exception("it failed")
        return _failed(desk, submission_id, f"{type(error).__name__}: {error}")
    desk.ask("finished", submission_id, outcome.what, outcome.result)
    print(outcome.what)  # noqa: T201 - it stands in Ray's log of the job
    return 0


def _failed(desk: RemoteDesk, submission_id: str, error: str) -> int:
    _LOG.error("%s", error)
    desk.ask("failing", submission_id, error)
    return FAILED


def main(address: str, pipeline: str, submission_id: str) -> int:
    """Run an attempt in the Ray at an address."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    os.environ.pop("RAY_ADDRESS", None)  # of the newest Ray of the machine
    with own_signal_handlers():
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
    end_in_order()
    return attempt(RemoteDesk(pipeline), submission_id)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
