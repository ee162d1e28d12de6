"""One real Ray for the tests that need it; where one of them fails, what our actors logged there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.real_ray import real_ray

LOG_LINES = 60  # of a failure's report


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A real single-node Ray, for the whole session."""
    with real_ray():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Add to the report of a failure what our actors have logged last: their processes end with the session."""
    report = yield
    if report.failed and ray.is_initialized():
        report.sections.append(
            ("the actors' logs", _logged(Path(ray._private.worker._global_node.get_logs_dir_path())))
        )
    return report


def _logged(folder: Path) -> str:
    lines = [
        line
        for file in folder.glob("worker-*.err")
        for line in file.read_text(errors="replace").splitlines()
        if "chipquality" in line
    ]
    return "\n".join(sorted(lines)[-LOG_LINES:])
