"""Every route of monitoring and analytics has an example in docs/api.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster.api.routes import analytics, monitoring, schemas

EXAMPLES = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
ROUTES = sorted(
    (method, route.path)
    for module in (monitoring, analytics, schemas)
    for route in module.router.routes
    for method in route.methods  # type: ignore[attr-defined]
)


def shown(method: str, path: str) -> bool:
    """Say whether a line asks the path with curl, by this method."""
    pattern = re.sub(r"\{[^}]*\}", '[^/?" ]+', path)
    lines = [line for line in EXAMPLES.splitlines() if re.search(rf'\$API{pattern}["?]', line)]
    flag = {"PUT": "-X PUT", "POST": "--json", "GET": ""}[method]
    return any(flag in line and (flag or "--json" not in line) for line in lines)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_route_has_an_example(method: str, path: str) -> None:
    assert shown(method, path)
