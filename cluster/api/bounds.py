"""Places in a topic, as requests name them: an end of it, an offset, or a time."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from cluster.api.problems import Problem
from cluster.operations.bounds import EARLIEST, LATEST, OFFSET_MAX, TIME_MAX_MS, Bound, when_ms
from cluster.operations.errors import Invalid

TIME_CHARS_MAX = 40
PARTITIONS_MAX = 1_000  # named one by one

Offset = Annotated[int, Field(ge=0, le=OFFSET_MAX)]
Time = Annotated[int, Field(ge=0, le=TIME_MAX_MS)] | Annotated[str, Field(max_length=TIME_CHARS_MAX)]


class At(BaseModel):
    """An offset, a time of publishing (Kafka's timestamp), or an event time: one of them."""

    model_config = ConfigDict(extra="forbid")

    offset: Offset | Annotated[dict[Annotated[int, Field(ge=0)], Offset], Field(max_length=PARTITIONS_MAX)] | None = (
        Field(None, description="of every partition, or by partition")
    )
    time: Time | None = Field(None, description="ISO 8601, or milliseconds since 1970 UTC")
    event_time: Time | None = Field(None, description="likewise; what the payload says")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.offset, self.time, self.event_time)) != 1:
            raise ValueError("one of offset, time, event_time")
        return self


def in_words(words: str) -> WrapValidator:
    """Say what may be given, where pydantic would go through all of the alternatives."""

    def one_of(given: Any, known: ValidatorFunctionWrapHandler) -> Any:
        try:
            return known(given)
        except ValidationError as error:
            raise ValueError(words) from error

    return WrapValidator(one_of)


AT = "{offset: a whole number, or one of each partition}, {time: …} or {event_time: …} (ISO 8601, or milliseconds since 1970)"
Since = Annotated[Literal["earliest"] | At, in_words(f"earliest, {AT}")]
Until = Annotated[Literal["latest"] | At, in_words(f"latest, {AT}")]
AnyBound = Annotated[Literal["earliest", "latest"] | At, in_words(f"earliest, latest, {AT}")]


def bound(said: str | At) -> Bound:
    """Return what a request says, as the plans have it. Raises Problem for a time that is none."""
    if not isinstance(said, At):
        return EARLIEST if said == "earliest" else LATEST
    try:
        if said.time is not None:
            return Bound(time_ms=when_ms(said.time))
        if said.event_time is not None:
            return Bound(event_time_ms=when_ms(said.event_time))
    except Invalid as error:
        raise Problem(422, str(error)) from error
    return Bound(offset=said.offset) if isinstance(said.offset, int) else Bound(offsets=said.offset)
