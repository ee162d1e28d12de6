"""Every error is `application/problem+json` (RFC 9457): what is wrong, in words that say what to do."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from cluster.access.tally import Refusal

MEDIA_TYPE = "application/problem+json"
INSTANCE_CHARS = 200  # of a path, in an answer
ECHO_CHARS = 200  # of what a caller sent, in a sentence
ERRORS_MAX = 20  # of a request that are told one by one
_LOG = logging.getLogger("chipquality.api")


class Problem(Exception):  # noqa: N818  (RFC 9457 calls it a problem)
    """An answer other than success: status, what is wrong in this case, further members."""

    def __init__(self, status: int, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.members = status, detail, members


class Denied(Problem):
    """403: somebody may not. Whoever answers it has `refusal` told to the audit trail, so no other 403 is raised."""

    def __init__(self, detail: str, refusal: Refusal, **members: Any) -> None:
        super().__init__(403, detail, **members)
        self.refusal = refusal


class Unavailable(Problem):
    """A part that the answer needs does not answer: 503, and which part."""

    def __init__(self, part: str, why: str) -> None:
        super().__init__(503, f"{part}: {why}", part=part)


def sayable(text: str, chars: int = ECHO_CHARS) -> str:
    """Return what may hold a caller's words as an answer can carry them: short, and without half surrogates.

    >>> sayable("a\\ud800b"), len(sayable("x" * 999))
    ('a?b', 200)
    """
    return text[:chars].encode("utf-8", "replace").decode()


def respond(status: int, detail: str, instance: str, **members: Any) -> JSONResponse:
    """Return the problem document. `type` is about:blank, so `title` is the status' own phrase, as RFC 9457 §4.2.1 says."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    headers = {name: str(value) for name, value in _headers(status, members).items()}
    return JSONResponse(
        {**body, "instance": instance[:INSTANCE_CHARS], **members}, status, headers, media_type=MEDIA_TYPE
    )


def _headers(status: int, members: dict[str, Any]) -> dict[str, Any]:
    """Return the headers that a status wants."""
    match status:
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return {"Retry-After": 2}
        case HTTPStatus.TOO_MANY_REQUESTS:
            return {"Retry-After": members.get("retry_after_s", 1)}
        case HTTPStatus.UNAUTHORIZED:
            return {"WWW-Authenticate": "Bearer"}
        case _:
            return {}


def install(app: FastAPI) -> None:
    """Make the app answer every error as a problem."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> JSONResponse:
        if isinstance(error, Denied):
            request.app.state.audit.refused(error.refusal)
        return respond(error.status, error.detail, request.url.path, **error.members)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        answer = respond(error.status_code, str(error.detail), request.url.path)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found = error.errors()
        errors = [
            {
                "in": sayable(".".join(str(part) for part in one["loc"])),
                "detail": sayable(one["msg"].removeprefix("Value error, ")),
            }
            for one in found[:ERRORS_MAX]
        ]
        detail = "; ".join(f"{one['in']}: {one['detail']}" for one in errors)
        if len(found) > ERRORS_MAX:
            detail += f"; and {len(found) - ERRORS_MAX} more"
        return respond(422, detail, request.url.path, errors=errors)

    @app.exception_handler(500)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return respond(500, "this is a fault of the program; its log has the traceback", request.url.path)


PROBLEM: dict[str, Any] = {  # the schema of every answer that is no success; `type`s of our own there are none
    "title": "Problem",
    "description": "What is wrong, as RFC 9457 has it; `detail` says in a sentence what to do. Some have further members.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "about:blank: `title` is the status' own phrase"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "what is wrong in this case, and what to do"},
        "instance": {"type": "string", "description": f"path of the request, its first {INSTANCE_CHARS} characters"},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "of 422: what is wrong where"},
        "part": {"type": "string", "description": "of 503: which part does not answer"},
        "retry_after_s": {"type": "integer", "description": "of 429: seconds; also in `Retry-After`"},
    },
    "additionalProperties": True,
}  # fmt: skip
_SAYS = {  # an example of each
    400: "There was an error parsing the body",
    401: "show a key: Authorization: Bearer cq_…, or sign in on the page",
    403: "ada may not manage topics 'june.charts': that takes the role admin for it",
    404: "no such thing; the list says what there is",
    409: "it cannot be done as things stand",
    412: "it is not what you have seen: look at it again",
    413: "a body of more than 4194304 bytes",
    422: "query.limit: Input should be less than or equal to 500",
    428: "say which version of the alert you have seen: If-Match with its ETag, or * for whichever",
    429: "too many requests by this caller: wait 0.4 s",
    503: "kafka: no answer within 15 s",
}
_MEMBERS: dict[int, dict[str, Any]] = {
    422: {"errors": [{"in": "query.limit", "detail": "Input should be less than or equal to 500"}]},
    429: {"retry_after_s": 1},
    503: {"part": "kafka"},
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route documents for these statuses, each with an example."""
    return {status: {"description": HTTPStatus(status).phrase, "content": _content(status)} for status in statuses}


def _content(status: int) -> dict[str, Any]:
    said = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": _SAYS[status]}
    example = {**said, "instance": "/where", **_MEMBERS.get(status, {})}
    return {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}


DOCUMENTED = answers(401, 403, 422, 429, 503)  # what almost every route may answer
