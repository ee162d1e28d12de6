"""STDF V4, what testers write: its records as dictionaries of fields, read from a stream, in either byte order."""

from schemas.stdf.layouts import LAYOUTS, Layout
from schemas.stdf.reader import Record, StdfError, StdfReader

__all__ = ["LAYOUTS", "Layout", "Record", "StdfError", "StdfReader"]
