"""Ray's Jobs API, as the scheduler uses it: submissions by ids of ours, which stand in Ray's dashboard with what they are of."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
import requests
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.dashboard.modules.dashboard_sdk import SubmissionClient
from ray.dashboard.utils import ray_address_to_api_server_url
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from cluster.jobs.planner import Seen, Sight
from cluster.jobs.run import Run
from cluster.jobs.scheduler import RayUnavailableError

CALL_S = 10.0  # of a request to the Jobs API; Ray's own client waits for ever
MESSAGE_MAX = 500  # characters of what Ray says of a failure
_SIGHTS: Mapping[JobStatus, Sight] = {
    JobStatus.PENDING: Sight.alive,
    JobStatus.RUNNING: Sight.alive,
    JobStatus.SUCCEEDED: Sight.succeeded,
    JobStatus.FAILED: Sight.failed,
    JobStatus.STOPPED: Sight.stopped,
}
_NOT_FOUND = "status code 404"
_TAKEN = "already exists"


class _Client(JobSubmissionClient):
    """Ray's client of exactly this address (its own takes that of RAY_ADDRESS instead), whose requests end."""

    def __init__(self, url: str) -> None:
        self._client_ray_version = ray.__version__
        SubmissionClient.__init__(self, address=url)

    def _do_request(self, method: str, endpoint: str, **further: Any) -> Any:
        return super()._do_request(method, endpoint, timeout=CALL_S, **further)


def api_of_this_ray() -> str:
    """Return the URL of the Jobs API of the Ray that this process is connected to. Raises RayUnavailableError."""
    try:
        return str(ray_address_to_api_server_url(ray.get_runtime_context().gcs_address))
    except (ValueError, ConnectionError, RuntimeError) as error:
        raise RayUnavailableError(f"this Ray has no Jobs API: its dashboard does not run ({error})") from error


def entrypoint_of(address: str, pipeline: str, submission_id: str) -> str:
    """Return the command of an attempt: nothing in it is secret; what it needs it asks the scheduler for.

    It names the Ray that it belongs to: what Ray tells it by itself is the newest one of the machine, which may be another.

    >>> entrypoint_of("head:6379", "quality", "nightly-20260601T020000Z-1").split(" -m ")[1]
    'cluster.jobs.process head:6379 quality nightly-20260601T020000Z-1'
    """
    command = [sys.executable, "-m", "cluster.jobs.process", address, pipeline, submission_id]
    return f"exec {shlex.join(command)}"


class RayJobs:
    """The Jobs API of the Ray that this process is connected to."""

    def __init__(self, pipeline: str, url: Callable[[], str] = api_of_this_ray) -> None:
        self.pipeline = pipeline
        self._url = url
        self._client: _Client | None = None

    def look(self, submission_ids: Sequence[str]) -> dict[str, Seen]:
        """Return how submissions stand. Raises RayUnavailableError."""
        return {name: self._look(name) for name in submission_ids}

    def submit(self, run: Run) -> None:
        """Have the newest attempt of a run begin; of one whose id is taken nothing comes. Raises RayUnavailableError."""
        entrypoint = entrypoint_of(ray.get_runtime_context().gcs_address, self.pipeline, run.submission_id)
        metadata = {"pipeline": self.pipeline, "job": run.job, "run": run.id, "kind": run.kind, "by": run.by}
        try:
            self._asked(
                lambda client: client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=run.submission_id,
                    metadata=metadata,
                )
            )
        except _RefusedError as error:
            if _TAKEN not in str(error):
                raise RayUnavailableError(str(error)) from error

    def stop(self, submission_id: str) -> None:
        """Have it end: SIGTERM, and SIGKILL seconds later. Raises RayUnavailableError."""
        try:
            self._asked(lambda client: client.stop_job(submission_id))
        except _RefusedError as error:
            if _NOT_FOUND not in str(error):
                raise RayUnavailableError(str(error)) from error

    def _look(self, submission_id: str) -> Seen:
        try:
            found = self._asked(lambda client: client.get_job_info(submission_id))
        except _RefusedError as error:
            if _NOT_FOUND in str(error):
                return Seen(Sight.absent)
            raise RayUnavailableError(str(error)) from error
        return Seen(_SIGHTS[found.status], " ".join((found.message or "").split())[:MESSAGE_MAX])

    def _asked(self, ask: Callable[[_Client], Any]) -> Any:
        try:
            if self._client is None:
                maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
                self._client = _Client(self._url())
            return ask(self._client)
        except (requests.RequestException, ConnectionError, AuthenticationError) as error:
            self._client = None
            raise RayUnavailableError(f"Ray's Jobs API: {type(error).__name__}: {error}") from error
        except RuntimeError as error:
            if isinstance(error, RayUnavailableError):
                raise
            raise _RefusedError(str(error)) from error


class _RefusedError(Exception):
    """The Jobs API answered, and not with what was asked for."""
