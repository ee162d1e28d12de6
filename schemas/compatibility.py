"""Can a reader with one Avro schema read what was written with another? Pure.

These are Avro's rules (specification 1.12, "Schema Resolution") as the registries apply them: names of records, enums and fixed
are compared without their namespaces, a reader's aliases count, and so do defaults of fields and enums.
"""

from __future__ import annotations

from schemas.avro_types import NAMED, Field, Parsed, Ref, Type, bounded

_PROMOTED = {  # what a reader of the type on the left reads besides its own
    "long": {"int"},
    "float": {"int", "long"},
    "double": {"int", "long", "float"},
    "string": {"bytes"},
    "bytes": {"string"},
}


def can_read(reader: Parsed, writer: Parsed) -> bool:
    """Say whether a reader with one schema reads what was written with another.

    >>> from schemas.avro_types import parse
    >>> can_read(parse('"long"'), parse('"int"')), can_read(parse('"int"'), parse('"long"'))
    (True, False)
    """
    return Resolution(reader, writer).reads(reader.root, writer.root)


class Resolution:
    """Avro's rules for one pair of schemas.

    Records may contain themselves: a pair of them that is being looked at is taken to fit. If it then does not, all is looked at
    again with that known, until nothing new is found; so each pair is looked at a bounded number of times.
    """

    def __init__(self, reader: Parsed, writer: Parsed) -> None:
        self.reader, self.writer = reader, writer
        self._fits: dict[tuple[str, str], bool] = {}  # pairs of records

    def reads(self, reader: Type | Ref, writer: Type | Ref) -> bool:
        """Say whether values of the writer's type can be read as the reader's. Raises NotASchema for too long a chain."""
        with bounded():
            while True:
                misfits = self._misfits()
                found = self._reads(reader, writer)
                if self._misfits() == misfits:
                    return found
                self._fits = dict.fromkeys(self._misfits(), False)

    def _misfits(self) -> set[tuple[str, str]]:
        return {pair for pair, fits in self._fits.items() if not fits}

    def _reads(self, reader: Type | Ref, writer: Type | Ref) -> bool:  # noqa: PLR0911 - one for each rule
        r, w = self.reader.at(reader), self.writer.at(writer)
        if w.kind == "union":
            return all(self._reads(r, branch) for branch in w.parts)
        if r.kind == "union":
            return any(self._reads(branch, w) for branch in r.parts)
        if r.kind != w.kind:
            return w.kind in _PROMOTED.get(r.kind, ())
        if r.kind in NAMED and not same_name(r, w):
            return False
        if r.kind == "fixed":
            return bool(r.attributes["size"] == w.attributes["size"])
        if r.kind == "enum":
            return "default" in r.attributes or set(w.attributes["symbols"]) <= set(r.attributes["symbols"])
        if r.kind == "record":
            return self._reads_record(r, w)
        return all(self._reads(a, b) for a, b in zip(r.parts, w.parts, strict=True))

    def _reads_record(self, r: Type, w: Type) -> bool:
        pair = (r.name, w.name)
        if pair not in self._fits:
            self._fits[pair] = True
            self._fits[pair] = all(self._reads_field(name, one, w) for name, one in r.fields.items())
        return self._fits[pair]

    def _reads_field(self, name: str, one: Field, w: Type) -> bool:
        written = counterpart(name, one, w)
        return one.has_default if written is None else self._reads(one.type, w.fields[written].type)


def same_name(reader: Type, writer: Type) -> bool:
    """Say whether two named types are one: by their own names without the namespace, or by an alias of the reader's."""
    if reader.name.rpartition(".")[2] == writer.name.rpartition(".")[2]:
        return True
    space = reader.name.rpartition(".")[0]
    aliases = [str(alias) for alias in reader.attributes.get("aliases", ())]
    return writer.name in {alias if "." in alias or not space else f"{space}.{alias}" for alias in aliases}


def counterpart(name: str, one: Field, writer: Type) -> str | None:
    """Return the writer's field that a reader's field takes its value from, by name or by an alias; None: there is none."""
    return next((n for n in (name, *one.attributes.get("aliases", ())) if n in writer.fields), None)
