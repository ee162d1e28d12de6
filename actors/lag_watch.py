"""What was seen of all groups and partitions, sample by sample: bounded, without I/O and without a clock.

The end of a topic that is written in transactions is behind a marker, which is an offset and no record. A consumer that commits
the offset behind the last record it was given lags by one for ever, as Kafka's own tools say too. So what stands still a few
offsets before the end is looked at (`rests`, actors/kafka/rest.py): where there is no record to read, nothing lags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from actors.lag_status import SAMPLES, Ends, Sample, Status, Verdict, Watched, worst

PARTITIONS_MAX = 10_000  # whose ends are remembered
WATCHED_MAX = 10_000  # groups × partitions that are judged; what is more is UNKNOWN
RATE_WINDOW_S = 60.0
REST_OFFSETS_MAX = 100  # behind a committed offset, that may be markers of transactions only
RESTS_MAX = 200  # looked at for that, of a sample

Place = tuple[str, int]  # topic, partition
Rest = tuple[str, int, int]  # topic, partition, committed offset


class LagWatch:
    """A window over groups, as `Admin.groups` tells them, and over the ends of partitions."""

    def __init__(self, partitions_max: int = PARTITIONS_MAX, watched_max: int = WATCHED_MAX) -> None:
        self._partitions_max, self._watched_max = partitions_max, watched_max
        self._ends: dict[Place, Ends] = {}
        self._watched: dict[tuple[str, str, int], Watched] = {}
        self._empty: dict[Rest, int] = {}  # up to where there is no record
        self._full: set[Rest] = set()  # there is one
        self.sampled_ms = 0  # when the newest sample was taken; 0 = none yet

    def add(self, groups: Sequence[Mapping[str, Any]], ends: Mapping[Place, int], at_ms: int) -> None:
        """Take a sample in: groups, and ends of partitions asked for at the same time. What is gone is forgotten."""
        self.sampled_ms = at_ms
        of_groups = {
            (standing["topic"], standing["partition"]): standing["end"]
            for group in groups
            for standing in group["partitions"]
            if standing["end"] is not None
        }
        self._add_ends({**ends, **of_groups}, at_ms)
        seen = set()
        for group in groups:
            for standing in group["partitions"]:
                name = (group["group"], standing["topic"], standing["partition"])
                watched = self._watched.get(name)
                if watched is None and len(self._watched) >= self._watched_max:
                    continue
                if watched is None:
                    watched = self._watched[name] = Watched()
                seen.add(name)
                lag = self._lag(standing)
                watched.add(Sample(at_ms, standing["committed"], None if lag is None else standing["committed"] + lag))
        for gone in self._watched.keys() - seen:
            del self._watched[gone]
        committed = {(*name[1:], watched.samples[-1].committed) for name, watched in self._watched.items()}
        self._empty = {rest: end for rest, end in self._empty.items() if rest in committed}
        self._full &= committed

    def rests(self) -> dict[Rest, int]:
        """Return what stands still and may hold markers only, each with its end; not what is known. At most RESTS_MAX."""
        found: dict[Rest, int] = {}
        for (_, topic, partition), watched in self._watched.items():
            newest, rest = watched.samples[-1], (topic, partition, watched.samples[-1].committed)
            if len(watched.samples) < 2 or newest[1:] != watched.samples[-2][1:] or rest in self._full:
                continue
            if newest.lag and newest.lag <= REST_OFFSETS_MAX and len(found) < RESTS_MAX:
                found[rest] = newest.committed + newest.lag
        return found

    def looked(self, empty: Mapping[Rest, int], full: Iterable[Rest]) -> None:
        """Note which rests hold no record up to an end, and which hold one."""
        self._empty |= empty
        self._full |= set(full)

    def _lag(self, standing: Mapping[str, Any]) -> int | None:
        """Return the lag, 0 where all of it is markers."""
        lag: int | None = standing["lag"]
        place = (standing["topic"], standing["partition"], standing["committed"])
        return 0 if lag and self._empty.get(place, -1) >= standing["end"] else lag

    def _add_ends(self, ends: Mapping[Place, int], at_ms: int) -> None:
        for gone in self._ends.keys() - ends.keys():
            del self._ends[gone]
        for place, end in ends.items():
            known = self._ends.get(place)
            if known is None and len(self._ends) >= self._partitions_max:
                continue
            if known is None:
                known = self._ends[place] = Ends()
            known.add(at_ms, end)

    def judge(self, group: str, standing: Mapping[str, Any], *, present: bool) -> Verdict:
        """Return how a group does on a partition. `standing`: what Kafka says of it now, which is no sample of the window."""
        if self._lag(standing) == 0:
            return Verdict(Status.OK, "caught up, to markers of transactions" if standing["lag"] else "caught up")
        watched = self._watched.get((group, standing["topic"], standing["partition"]))
        if watched is None:
            return Verdict(Status.UNKNOWN, f"0 of {SAMPLES} samples are there")
        return watched.judge(present=present)

    def lag_s(self, standing: Mapping[str, Any], now_ms: int) -> float | None:
        """Return how many seconds a group is behind on a partition; None while that is not known."""
        if self._lag(standing) == 0:
            return 0.0
        ends = self._ends.get((standing["topic"], standing["partition"]))
        found = None if ends is None else ends.lag_s(standing["committed"], now_ms)
        return None if found is None else round(found, 1)

    def rate(self, topic: str, partitions: Iterable[int], now_ms: int) -> dict[str, float] | None:
        """Return offsets a second that come in, over all partitions that were seen twice; None if none was."""
        found = [
            rate
            for partition in partitions
            if (ends := self._ends.get((topic, partition))) and (rate := ends.rate(RATE_WINDOW_S, now_ms))
        ]
        if not found:
            return None
        return {
            "in_per_s": round(sum(per_s for per_s, _ in found), 1),
            "window_s": round(max(seconds for _, seconds in found), 1),
        }


def told(
    watch: LagWatch, group: Mapping[str, Any], now_ms: int, *, present: bool, owners: Mapping[Place, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a group of `Admin.groups` with status, why, lag and lag in seconds, of itself and of every partition.

    `owners`: which slot has which partition, for a pipeline.
    """
    partitions = []
    verdicts = []
    for standing in group["partitions"]:
        verdict = watch.judge(group["group"], standing, present=present)
        place = f"{standing['topic']}:{standing['partition']}"
        verdicts.append(Verdict(verdict.status, f"{place}: {verdict.why}"))
        partitions.append(
            {
                **standing,
                "lag_s": watch.lag_s(standing, now_ms),
                "status": verdict.status.value,
                "why": verdict.why,
                "owner": owners.get((standing["topic"], standing["partition"])),
            }
        )
    verdict = worst(verdicts)
    lags = [standing["lag"] for standing in partitions if standing["lag"] is not None]
    seconds = [standing["lag_s"] for standing in partitions if standing["lag_s"] is not None]
    known = len(seconds) == len(partitions)  # the largest of some is not the largest
    return {
        **group,
        "status": verdict.status.value,
        "why": "caught up" if lags and not any(lags) and verdict.status is Status.OK else verdict.why,
        "lag": sum(lags) if lags else None,
        "lag_s": max(seconds) if seconds and known else None,
        "partitions": partitions,
    }
