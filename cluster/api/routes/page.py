"""The page, its files, and the API's documentation: they hold no data, so that a browser can show where to sign in."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from cluster.api.access import CALLER, needs, open_to_all

WEB = Path(__file__).resolve().parents[2] / "web"

router = APIRouter(include_in_schema=False)


@router.get("/", dependencies=[open_to_all])
async def index(request: Request) -> FileResponse:
    """Return the page, to whom is signed in; to others, where to sign in."""
    known = request.app.state.access is None or CALLER in request.scope
    return FileResponse(WEB / ("index.html" if known else "signin.html"))


@router.get("/openapi.json", dependencies=[needs("session", "read")])
async def openapi(request: Request) -> JSONResponse:
    """Return what the API can do, as OpenAPI."""
    return JSONResponse(request.app.openapi())


@router.get("/docs", dependencies=[open_to_all])
async def docs() -> FileResponse:
    """Return the API's documentation, which also sends requests."""
    return FileResponse(WEB / "docs.html")


@router.get("/favicon.ico", dependencies=[open_to_all])
async def icon() -> FileResponse:
    """Return the icon."""
    return FileResponse(WEB / "icon.svg", media_type="image/svg+xml")


def static_files() -> StaticFiles:
    """Return the app that serves /web."""
    return StaticFiles(directory=WEB)
