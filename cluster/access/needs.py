"""What a route can need: an action on a resource. Without FastAPI, which the command line does not want."""

from __future__ import annotations

from typing import Literal, NamedTuple

Action = Literal["read", "write", "manage"]
Resource = Literal[
    "topics", "consumers", "schemas", "metrics", "dead-letters", "pipelines", "operations",
    "charts", "detectors", "limits", "alerts", "events", "jobs", "keys", "audit", "session",
]  # fmt: skip
BODY, QUERY = "body.", "query."  # before the name of a parameter that is not of the path


class Need(NamedTuple):
    """An action on a resource; `parameter` says which one it is about, empty where it is about all of them.

    It is a parameter of the path ("series"), a member of the body that is a text ("body.series"), or a parameter of the
    query ("query.series").
    """

    resource: Resource
    action: Action
    parameter: str = ""
