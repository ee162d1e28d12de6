"""What differs between two Avro schemas, and which of it breaks readers: pure.

Theory of operation
-------------------
*Backward*: a reader with the new schema reads what was written with the old one. *Forward*: one with the old schema reads what
is written with the new. schemas/compatibility.py says whether that holds for a pair; `diff` says the same in parts: every change
with what it breaks. A pair does not hold in a direction if and only if a change of `diff` breaks it; the tests hold both to the
verdict of a real registry.

Paths: `lot.wafers[].id` is a field of a record in an array, `{}` stands for the values of a map, `.symbols` for an enum's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from schemas.avro_types import NAMED, Field, Parsed, Ref, Type, bounded
from schemas.compatibility import Resolution, counterpart, same_name

Direction = Literal["backward", "forward"]
BACKWARD: tuple[Direction, ...] = ("backward",)
FORWARD: tuple[Direction, ...] = ("forward",)
CHANGES_MAX = 1_000  # told of one pair


class Change(NamedTuple):
    """A difference, and which directions it breaks."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any
    after: Any
    breaks: tuple[Direction, ...] = ()


def diff(old: Parsed, new: Parsed) -> list[Change]:
    """Return what differs, in the order of the schemas; at most CHANGES_MAX. Raises NotASchema.

    >>> from schemas.avro_types import parse
    >>> old = parse('{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}')
    >>> new = parse('{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}, {"name": "b", "type": "int"}]}')
    >>> for change in diff(old, new): print(*change)
    a changed int long ('forward',)
    b added None int ('backward',)
    """
    found: list[Change] = []
    with bounded():
        _Differences(old, new, found).compare("", old.root, new.root)
    return found[:CHANGES_MAX]


class _Differences:
    """Differences of one pair of schemas."""

    def __init__(self, old: Parsed, new: Parsed, found: list[Change]) -> None:
        self.old, self.new, self.found = old, new, found
        self._seen: set[tuple[str, str]] = set()
        self._backward, self._forward = Resolution(new, old), Resolution(old, new)

    def backward(self, new: Type | Ref, old: Type | Ref) -> bool:
        return self._backward.reads(new, old)

    def forward(self, old: Type | Ref, new: Type | Ref) -> bool:
        return self._forward.reads(old, new)

    def _broken(self, old: Type | Ref, new: Type | Ref) -> tuple[Direction, ...]:
        return (BACKWARD if not self.backward(new, old) else ()) + (FORWARD if not self.forward(old, new) else ())

    def compare(self, path: str, before: Type | Ref, after: Type | Ref) -> None:
        """Note what differs at a place and below it."""
        old, new = self.old.at(before), self.new.at(after)
        if "union" in {old.kind, new.kind}:
            self._union(path, old, new)
        elif old.kind != new.kind:
            self._change(path, "changed", str(old), str(new), self._broken(old, new))
        elif old.kind in NAMED and not (same_name(new, old) and same_name(old, new)):
            both = self._broken(old, new)
            self._change(f"{path}.name".lstrip("."), "changed", old.name, new.name, both)
            if not both:
                self._inside(path, old, new)
        else:
            self._inside(path, old, new)

    def _inside(self, path: str, old: Type, new: Type) -> None:
        self._attributes(path, old.attributes, new.attributes, ("logicalType", "doc", "aliases", "namespace"))
        if old.kind == "record":
            self._record(path, old, new)
        elif old.kind == "enum":
            self._enum(path, old, new)
        elif old.kind == "fixed" and old.attributes["size"] != new.attributes["size"]:
            self._change(
                _in(path, "size"), "changed", old.attributes["size"], new.attributes["size"], BACKWARD + FORWARD
            )
        elif old.parts:
            self.compare(path + ("[]" if old.kind == "array" else "{}"), old.parts[0], new.parts[0])

    def _record(self, path: str, old: Type, new: Type) -> None:
        pair = (old.name, new.name)
        if pair in self._seen:  # it is told of where it came first
            return
        self._seen.add(pair)
        renamed = {
            name: was for name, one in new.fields.items() if (was := counterpart(name, one, old)) and was != name
        }
        for name, one in old.fields.items():
            if name in new.fields:
                self._field(_in(path, name), one, new.fields[name])
            elif name not in renamed.values():
                self._change(_in(path, name), "removed", str(one.type), None, () if one.has_default else FORWARD)
        for name, one in new.fields.items():
            if name in old.fields:
                continue
            was = renamed.get(name)
            if was is None:
                self._change(_in(path, name), "added", None, str(one.type), () if one.has_default else BACKWARD)
                continue
            before = old.fields[was]
            lost = counterpart(was, before, new) is None and not before.has_default
            self._change(_in(path, name), "changed", was, name, FORWARD if lost else ())
            self._field(_in(path, name), before, one)

    def _field(self, path: str, old: Field, new: Field) -> None:
        self.compare(path, old.type, new.type)
        self._attributes(path, old.attributes, new.attributes, ("default", "doc", "aliases", "order"))

    def _enum(self, path: str, old: Type, new: Type) -> None:
        had, has = old.attributes["symbols"], new.attributes["symbols"]
        self._attributes(path, old.attributes, new.attributes, ("default",))
        for symbol in had:
            if symbol not in has:
                breaks = () if "default" in new.attributes else BACKWARD
                self._change(_in(path, "symbols"), "removed", symbol, None, breaks)
        for symbol in has:
            if symbol not in had:
                breaks = () if "default" in old.attributes else FORWARD
                self._change(_in(path, "symbols"), "added", None, symbol, breaks)

    def _union(self, path: str, old: Type, new: Type) -> None:
        """Branches of the same type are compared, the others came or went."""
        had = {_branch(self.old.at(each)): each for each in (old.parts if old.kind == "union" else (old,))}
        has = {_branch(self.new.at(each)): each for each in (new.parts if new.kind == "union" else (new,))}
        for name, each in had.items():
            if name in has:
                self.compare(path, each, has[name])
            else:
                self._change(path, "removed", str(each), None, () if self.backward(new, each) else BACKWARD)
        for name, each in has.items():
            if name not in had:
                self._change(path, "added", None, str(each), () if self.forward(old, each) else FORWARD)
        if (old.kind == "union") != (new.kind == "union") and had.keys() == has.keys():
            self._change(path, "changed", str(old), str(new))

    def _attributes(self, path: str, old: Mapping[str, Any], new: Mapping[str, Any], names: Sequence[str]) -> None:
        for name in names:
            if name in old and name not in new:
                self._change(_in(path, name), "removed", old[name], None)
            elif name in new and name not in old:
                self._change(_in(path, name), "added", None, new[name])
            elif name in old and old[name] != new[name]:
                self._change(_in(path, name), "changed", old[name], new[name])

    def _change(
        self, path: str, kind: Literal["added", "removed", "changed"], before: Any, after: Any,
        breaks: tuple[Direction, ...] = (),
    ) -> None:  # fmt: skip
        self.found.append(Change(path, kind, before, after, breaks))


def _in(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _branch(branch: Type) -> str:
    """Return what tells a union's branches apart; for a reader the namespace does not count."""
    return f"{branch.kind} {branch.name.rpartition('.')[2]}" if branch.name else branch.kind
