"""Versions of what is shown, for those who change it: `ETag`, `If-Match` (RFC 9110 §13.1.1), `If-None-Match` (§13.1.2)."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any

from fastapi import Header

from cluster.api.problems import Problem

TAGS_CHARS_MAX = 1_000

IfMatch = Annotated[
    str | None, Header(max_length=TAGS_CHARS_MAX, description="`ETag` of what you have seen; * for whatever is there")
]
IfNoneMatch = Annotated[str | None, Header(max_length=TAGS_CHARS_MAX, description="`ETag` of what you have already")]

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')


def tag_of_version(version: int) -> str:
    """Return the tag of a numbered version.

    >>> tag_of_version(3)
    '"3"'
    """
    return f'"{version}"'


def tag_of_content(content: Any) -> str:
    """Return a tag that is another one where the content, as JSON, is another one.

    >>> tag_of_content({"a": 1}) == tag_of_content({"a": 1}), tag_of_content({"a": 2}) == tag_of_content({"a": 1})
    (True, False)
    """
    text = json.dumps(content, sort_keys=True, default=str)
    return f'"{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"'


def tags_in(header: str) -> set[str]:
    """Return the tags that a header lists, without their quotes. Raises Problem 422 for what is no list of tags.

    >>> sorted(tags_in('"3", W/"4"'))
    ['3', '4']
    """
    parts = [part.strip() for part in header.split(",")]
    found = [_TAG.fullmatch(part) for part in parts]
    if not all(found):
        raise Problem(422, 'If-Match, If-None-Match: tags in quotes, as ETag gave them, e.g. "3"; or *')
    return {match[1] for match in found if match}


def version_seen(if_match: str | None, *, what: str) -> int | None:
    """Return the version that a writer says to have seen; None for *. Raises Problem: 428 if nothing is said, 422, 412.

    >>> version_seen('"3"', what="alert"), version_seen("*", what="alert")
    (3, None)
    """
    if if_match is None:
        raise Problem(428, f"say which version of the {what} you have seen: If-Match with its ETag, or * for whichever")
    if if_match.strip() == "*":
        return None
    tags = tags_in(if_match)
    if len(tags) != 1 or not (tag := tags.pop()).isascii() or not tag.isdigit() or len(tag) > 9:
        raise Problem(412, f"If-Match names no version of this {what}: it wants one ETag, as GET gave it")
    return int(tag)


def is_held(if_none_match: str | None, tag: str) -> bool:
    """Tell whether the caller has this already.

    >>> is_held('"a", "b"', '"b"'), is_held(None, '"b"')
    (True, False)
    """
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag.strip('"') in tags_in(if_none_match)
