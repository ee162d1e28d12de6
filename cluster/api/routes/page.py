"""The page, its files, and the API's documentation: they hold no data, so that a browser can show where to sign in."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from cluster.api.access import open_to_all

WEB = Path(__file__).resolve().parents[2] / "web"

router = APIRouter(include_in_schema=False, dependencies=[open_to_all])


@router.get("/")
async def index() -> FileResponse:
    """Return the page."""
    return FileResponse(WEB / "index.html")


@router.get("/docs")
async def docs() -> FileResponse:
    """Return the API's documentation, which also sends requests."""
    return FileResponse(WEB / "docs.html")


@router.get("/favicon.ico")
async def icon() -> FileResponse:
    """Return the icon."""
    return FileResponse(WEB / "icon.svg", media_type="image/svg+xml")


def static_files() -> StaticFiles:
    """Return the app that serves /web."""
    return StaticFiles(directory=WEB)
