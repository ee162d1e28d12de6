"""Signing in on the page: a key for a cookie."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from actors.kafka.delivery import PublishError
from cluster.access import sessions
from cluster.access.desk import PUBLISH_S
from cluster.access.grants import allowed, strongest
from cluster.access.guard import ANONYMOUS, CREDENTIAL_CHARS_MAX, Unidentified, address_of, caller_of
from cluster.access.tally import Refusal
from cluster.access.wiring import Access
from cluster.api.access import Caller, needs, open_to_all
from cluster.api.facts import within
from cluster.api.problems import DOCUMENTED, Denied, Problem, Unavailable
from schemas.registry import RegistryUnavailable

NO_STORE = {"Cache-Control": "no-store"}

router = APIRouter(prefix="/session", tags=["access"], responses=DOCUMENTED)

SignedIn = Annotated[Caller, needs("session", "read")]
Leaving = Annotated[Caller, needs("session", "write")]


class SignIn(BaseModel):
    """What is shown."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"key": "cq_k7Qm…"}]})

    key: str = Field(min_length=1, max_length=CREDENTIAL_CHARS_MAX, description="an API key: cq_…")


def access_of(request: Request) -> Access:
    """Return access control. Raises Problem where the app runs without it, as in some tests."""
    access: Access | None = request.app.state.access
    if access is None:
        raise Problem(404, "this API runs without access control: everybody may do everything")
    return access


async def written(work: Any, part: str = "keys") -> Any:
    """Do something that writes to Kafka on a thread. Raises Unavailable."""

    def done() -> Any:
        try:
            return work()
        except (PublishError, RegistryUnavailable, TimeoutError) as error:
            raise Unavailable(part, str(error)) from error

    return await within(asyncio.to_thread(done), 2 * PUBLISH_S, part)


@router.post("", dependencies=[open_to_all], summary="Sign in: a key for a cookie")
async def sign_in(body: SignIn, request: Request, response: Response) -> dict[str, Any]:
    """Set a cookie that no script can read, which ends after a while, on sign-out, and with its key."""
    access = access_of(request)
    guard, address = access.guard, address_of(request.scope)
    from_browser = "origin" in request.headers or "sec-fetch-site" in request.headers
    if from_browser and not guard.from_our_page(request.scope):
        refusal = Refusal(ANONYMOUS, "another site's request", address, "session.write", "session", method="API_KEY")
        raise Denied("signing in is for our own page", refusal)
    try:
        key = await guard.key(body.key, address)
    except Unidentified as error:
        raise guard.failed(error) from error
    now_ms = guard.now_ms()
    session = sessions.begin(key.key_id, key.expires_ms, now_ms, access.settings.session_ms, secrets.token_bytes)
    caller = caller_of(key, "SESSION", address)._replace(session_id=session.session_id, until_ms=session.expires_ms)
    await access.audit.signed_in(caller._replace(method="API_KEY"))
    cookie = sessions.cookie_of(access.settings.secret, session)
    seconds = max(1, (session.expires_ms - now_ms) // 1000)
    response.headers["Set-Cookie"] = sessions.set_cookie(cookie, seconds, secure=access.settings.https)
    response.headers.update(NO_STORE)
    return _who(caller)


@router.get("", summary="Who am I, and what may I")
async def who_am_i(caller: SignedIn, response: Response) -> dict[str, Any]:
    """Return name, role and grants of whoever asks; `may`: what he may do whatever its name."""
    response.headers.update(NO_STORE)
    return _who(caller)


@router.delete("", status_code=204, summary="Sign out")
async def sign_out(caller: Leaving, request: Request) -> Response:
    """End the session: its cookie is taken back, and a copy of it is worth nothing."""
    access = access_of(request)
    if caller.session_id:
        session = sessions.Session(caller.session_id, caller.key_id, caller.until_ms)
        await written(lambda: access.desk.end(access.following.book, session))
        await access.audit.signed_out(caller)
    answer = Response(status_code=204, headers=NO_STORE)
    answer.headers["Set-Cookie"] = sessions.set_cookie("", 0, secure=access.settings.https)
    return answer


def _who(caller: Caller) -> dict[str, Any]:
    return {
        "name": caller.name, "role": strongest(caller.grants) or caller.role, "method": caller.method,
        "key_id": caller.key_id or None, "grants": [str(grant) for grant in caller.grants], "may": allowed(caller.grants),
        "expires_ms": caller.until_ms or None,
    }  # fmt: skip
