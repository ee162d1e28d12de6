"""What is wrong with a package, in one sentence that says what to do."""

from __future__ import annotations

from actors.errors import ConfigError

DETAIL_CHARS = 8_000  # of a traceback, or of pip's words


class PackageRefused(ConfigError):  # noqa: N818 - what it says is no fault of ours
    """A package is not taken: the reason is one sentence; `detail` is a traceback or pip's words, where there are any.

    >>> str(PackageRefused("no such class", "Traceback …"))
    'no such class'
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail[-DETAIL_CHARS:]

    def __reduce__(self) -> tuple[type[PackageRefused], tuple[str, str]]:
        return PackageRefused, (str(self), self.detail)
