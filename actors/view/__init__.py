"""The view: a bounded picture of the newest points and alerts, for the page. Outside the data path."""

from actors.view.actor import ChartView, connect, start, stop, view_name
from actors.view.board import Board
from actors.view.reader import Sources

__all__ = ["Board", "ChartView", "Sources", "connect", "start", "stop", "view_name"]
