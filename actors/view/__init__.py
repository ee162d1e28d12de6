"""The view: a bounded picture of the newest points and alerts, for the page. Outside the data path.

What needs Ray is imported when it is asked for: the API's document names limits of the view, and needs none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.view.actor import ChartView, connect, start, stop, view_name
    from actors.view.board import Board
    from actors.view.reader import Sources

__all__ = ["Board", "ChartView", "Sources", "connect", "start", "stop", "view_name"]

_MODULE_OF = {"Board": "board", "Sources": "reader"}  # the others: actor


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF.get(name, 'actor')}"), name)
