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
        errors = [
            {"in": ".".join(str(part) for part in problem["loc"]), "detail": problem["msg"]}
            for problem in error.errors()
        ]
        detail = "; ".join(f"{one['in']}: {one['detail']}" for one in errors)
        return respond(422, detail, request.url.path, errors=errors)

    @app.exception_handler(500)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return respond(500, "this is a fault of the program; its log has the traceback", request.url.path)


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}
    for status in (401, 403, 422, 429, 503)
}
