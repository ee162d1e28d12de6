"""The Python client: pages, problems as exceptions, tables with their types, verdicts from the log."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import Producer

from cluster.client import ApiError, Chart, Client, NotReachedError, Verdicts, connection, tables, verdicts
from cluster.client.connection import Connection
from cluster.client.verdicts import TooManyRowsError
from schemas.charts import ChartBlock, DetectorColumns, RuleMeta
from schemas.texts import Texts
from schemas.topics import CHARTS
from tests.cluster.served import Served, free_port, wait_for
from tests.transactions import open_transaction

SERIES = [f"CL|A|R|10|c{n}" for n in range(3)]


# ---- over the deployed API


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    """A client of an API that holds three series, one of which has an alert."""
    rows = served.line.in_control(SERIES, 60)
    served.line.publish([*rows, (SERIES[1], 60.0)], lsl=0.0, usl=20.0)
    served.read_up_to(served.line.next_offset)
    with Client(served.url, served.key) as made:
        yield made


def test_series_come_as_a_table(client: Client) -> None:
    found = client.series("CL|A").to_pandas()
    assert sorted(found["series"]) == SERIES
    assert list(found["open_alerts"]) == sorted(found["open_alerts"], reverse=True)  # those with most come first
    assert found.set_index("characteristic")["open_alerts"]["c1"] > 0
    assert found["rows"].sum() == 181
    assert str(found["last_time"].dtype) == "datetime64[ms, UTC]"
    assert client.series("nobody has this").num_rows == 0


def test_lists_are_read_page_by_page_up_to_a_limit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    get = client.api.get
    monkeypatch.setattr(connection, "PAGE_SIZE", 2)
    monkeypatch.setattr(client.api, "get", lambda path, **said: (asked.append(said["limit"]), get(path, **said))[1])
    assert len(list(itertools.islice(client.api.items("/charts", search="CL|A"), 1))) == 1
    assert asked == [2]  # a page that nobody wants is not asked for
    assert client.series("CL|A", limit=None).num_rows == 3
    assert client.series("CL|A", limit=3).num_rows == 3
    assert asked == [2, 2, 2, 2, 1]
    assert client.series("CL|A", limit=0).num_rows == 0


def test_a_chart_has_points_and_verdicts(client: Client) -> None:
    chart = client.chart(SERIES[1])
    points = chart.points.to_pandas()
    assert (len(points), points["value"].iloc[-1], points["usl"].iloc[-1]) == (61, 60.0, 20.0)
    assert chart.status == "alarm"
    detector = "spc.individuals"
    plotted = chart.plotted(detector).to_pandas()
    assert list(plotted["offset"]) == list(points["offset"])
    last = plotted.iloc[-1]
    assert (last["value"], last["lcl"] < 10.0 < last["ucl"] < 60.0, bool(last["valid"])) == (60.0, True, True)
    assert len(last["signals"]) > 0
    assert not plotted["valid"].iloc[0]  # Phase I
    with pytest.raises(KeyError, match=r"no detector 'spc' has judged this series; there are .*spc.individuals"):
        chart.plotted("spc")
    with pytest.raises(KeyError, match=r"spc.individuals has no statistic 'T2'; it has x"):
        chart.plotted(detector, "T2")
    assert client.chart(SERIES[1], points=5).points.num_rows == 5


def test_alerts_and_what_there_is_most_of(client: Client) -> None:
    alerts = client.alerts(series=SERIES[1], state="OPEN").to_pandas()
    assert set(alerts["series"]) == {SERIES[1]}
    assert set(alerts["status"]) == {"open"}
    assert alerts["raised"].dt.tz is not None
    assert alerts["value"].iloc[0] == 60.0
    assert client.alerts(tool="nobody").schema == client.alerts(limit=1).schema  # empty ones have their columns too
    counted = client.pareto("tool").to_pandas()
    assert counted.set_index("name")["count"]["CL"] >= len(alerts)


def test_capability_as_a_table_of_indices(client: Client) -> None:
    found = client.capability(SERIES[0], usl=16.0)
    assert found["Cpk"] == pytest.approx(found.indices.to_pandas().set_index("index")["value"]["Cpk"])
    assert found.told["limits"]["usl"] == 16.0
    assert sum(found.histogram["count"].to_pylist()) == 60


def test_the_other_lists_have_their_columns(client: Client) -> None:
    topics = client.topics(limit=None).to_pandas().set_index("name")
    assert topics["ours"]["fab.measurements"]
    assert "spc.individuals" in client.detectors()["detector"].to_pylist()
    assert client.limits(SERIES[0]).column_names[:3] == ["change_id", "kind", "state"]
    assert client.inspections(limit=5).column_names[0] == "inspection_id"
    assert client.dead_letters(limit=5).column_names[0] == "place"
    assert client.status()["judged"] >= 181


def test_events_are_published_and_found_again(client: Client) -> None:
    event = {
        "event_type": "DEFECT_DETECTED", "inspection_id": "CL-I", "batch_id": "CL-L", "chip_id": "c", "inspection_type": "AOI",
        "status": "IN_PROGRESS", "metadata": {"wafer": "W1"},
        "defects": [{"defect_type": "SCRATCH", "severity": "MAJOR", "confidence": 1.0, "location": "die 3,-2"}],
    }  # fmt: skip
    (placed,) = client.publish("inspection", [event])
    assert placed["topic"] == "fab.inspection"
    wait_for(lambda: "CL-I" in client.inspections(limit=None)["inspection_id"].to_pylist(), "the view has read it")
    defects = client.wafer("CL-L", "W1")
    assert defects.select(["defect_type", "die_x", "die_y"]).to_pylist() == [
        {"defect_type": "SCRATCH", "die_x": 3, "die_y": -2}
    ]
    with pytest.raises(ApiError, match=r"nothing was published: event 0: status: ") as wrong:
        client.publish("inspection", [event | {"status": 7}])
    assert wrong.value.members["errors"][0]["field"] == "status"


def test_a_problem_is_an_exception_that_says_what_to_do(client: Client, served: Served) -> None:
    with pytest.raises(
        ApiError, match=r"^404: no points of the series 'nobody' are held; GET /charts lists"
    ) as missing:
        client.chart("nobody")
    assert (missing.value.status, missing.value.members["series"]) == (404, "nobody")
    with Client(served.url, "no-key") as stranger, pytest.raises(ApiError) as denied:
        stranger.series()
    assert denied.value.status == 401
    assert denied.value.detail


# ---- without the API: what else may answer


class _Odd(BaseHTTPRequestHandler):
    """Answers as told, in turn."""

    answers: ClassVar[list[tuple[int, dict[str, str], bytes]]] = []
    asked: ClassVar[list[str]] = []

    def _answer(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, body = self.answers.pop(0)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def odd() -> Iterator[Connection]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Odd)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Odd.answers, _Odd.asked = [], []
    made = Connection(f"http://127.0.0.1:{server.server_port}/", "k", timeout_s=5)
    yield made
    made.close()
    server.shutdown()
    server.server_close()


JSON = {"Content-Type": "application/json"}


@pytest.mark.processes
def test_a_get_waits_as_it_is_told_and_nothing_else_is_repeated(odd: Connection) -> None:
    busy = (
        503,
        {"Content-Type": "application/problem+json", "Retry-After": "0"},
        b'{"detail": "kafka: busy", "part": "kafka"}',
    )
    _Odd.answers += [busy, (200, JSON, b"[1]"), busy, (204, {}, b"")]
    assert odd.get("/x", a=None, b=True, from_="2026-01-01T00:00+00:00") == [1]
    assert _Odd.asked == ["GET /x?b=true&from=2026-01-01T00%3A00%2B00%3A00"] * 2
    with pytest.raises(ApiError, match="503: kafka: busy") as error:
        odd.ask("POST", "/y", {"a": 1}, idempotency_key="once")
    assert error.value.members == {"part": "kafka"}
    assert odd.ask("DELETE", "/z") is None
    assert _Odd.asked[2:] == ["POST /y", "DELETE /z"]
    _Odd.answers += [busy] * 3
    with pytest.raises(ApiError, match="503: kafka: busy"):
        odd.get("/x")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("status", "headers", "body", "says"),
    [
        (
            502,
            {"Content-Type": "text/html"},
            b"<h1>Bad\nGateway</h1>",
            r"502: an answer .* \(text/html\): <h1>Bad Gateway</h1>",
        ),
        (200, {"Content-Type": "text/html"}, b"a page", "200: an answer that is none of the API's"),
        (200, JSON, b"{", "200: an answer that is none"),
        (302, {"Location": "http://elsewhere/"}, b"", r"302: an answer that is none of the API's \(of no type\)"),
        (400, JSON, b"[]", "400: an answer that is none"),
    ],
)
def test_what_is_none_of_the_apis_is_said_as_it_is(
    odd: Connection, status: int, headers: dict[str, str], body: bytes, says: str
) -> None:
    _Odd.answers.append((status, headers, body))
    with pytest.raises(ApiError, match=says):
        odd.get("/x")


@pytest.mark.processes
def test_nobody_there_is_told_with_the_address(odd: Connection) -> None:
    gone = Connection(f"http://127.0.0.1:{free_port()}", "k", timeout_s=2)
    with pytest.raises(NotReachedError, match=r"http://127.0.0.1:\d+ does not answer: "):
        gone.get("/x")
    _Odd.answers.append((200, {"Content-Length": "50"}, b"cut"))
    with pytest.raises(NotReachedError, match="does not answer"):
        odd.ask("POST", "/x")


def test_an_address_is_wanted() -> None:
    for wrong in ("localhost:8000", "ftp://x", "http://"):
        with pytest.raises(ValueError, match="the address of the API is wanted"):
            Client(wrong, "k")


def test_items_without_something_have_null_there() -> None:
    made = tables.table([{"series": "s", "parts": None}, {"series": "t"}], tables.SERIES)
    assert made["equipment"].to_pylist() == [None, None]
    assert tables.verdicts([]).schema == tables.VERDICTS
    rules = [{"name": "a", "statistic": 0}, {"name": "b", "statistic": 1}, {"name": "c", "statistic": 0}]
    assert (tables.fired(0b111, rules, 0), tables.fired(0b010, rules, 0)) == (["a", "c"], [])


def test_a_point_that_a_detector_has_not_judged_is_plotted_without_it() -> None:
    rule = {"name": "beyond", "statistic": 0}
    lines = {"centre": [0.0, 0.0], "lcl": [-1.0, -1.0], "ucl": [1.0, 1.0]}
    judged = {
        "detector": "d", "identity": "d@1-x", "rules": [rule], "offset": [5, 5], "sample": [1, 2], "signal": [0, 1],
        "valid": [False, True], "statistics": [{"name": "x", "value": [0.5, 2.0], **lines}],
    }  # fmt: skip
    numbers = {name: [None, None, None] for name in ("lsl", "usl", "target")}
    points = {
        "offset": [5, 5, 5], "sample": [0, 1, 2], "event_time_ms": [1, 2, 3], "published_ms": [4, 5, 6],
        "value": [None, 0.5, 2.0], "lot": ["", "", ""], "wafer": ["", "", ""], **numbers,
    }  # fmt: skip
    chart = Chart("s", "alarm", tables.points(points), tables.verdicts([judged]), {"detectors": [judged]})
    assert chart.plotted("d").select(["sample", "value", "x", "ucl", "signals"]).to_pylist() == [
        {"sample": 0, "value": None, "x": None, "ucl": None, "signals": None},
        {"sample": 1, "value": 0.5, "x": 0.5, "ucl": 1.0, "signals": []},
        {"sample": 2, "value": 2.0, "x": 2.0, "ucl": 1.0, "signals": ["beyond"]},
    ]


@pytest.mark.processes
def test_the_client_does_not_wait_for_ray() -> None:
    code = "import sys, cluster.client; print(sorted(sys.modules.keys() & {'ray', 'pandas', 'fastapi', 'sklearn'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# ---- verdicts from the log


def test_the_log_has_the_verdicts_that_the_api_tells(client: Client, served: Served) -> None:
    line = served.line
    reader = Verdicts(line.cluster.bootstrap_servers, line.pipeline, topic=line.sources.charts)
    producer = Producer({"bootstrap.servers": line.cluster.bootstrap_servers})
    producer.produce(line.sources.charts, b"no chart", partition=0)
    producer.flush(20)
    uncommitted = open_transaction(line.cluster.bootstrap_servers, [line.sources.charts])
    with (
        uncommitted,
        pytest.warns(
            UserWarning, match=rf"{re.escape(line.sources.charts)}:0:\d+ is left out: not a packed chart record"
        ),
    ):
        found = reader.read([SERIES[1]], detectors=["spc.individuals"])
    assert found.schema == verdicts.SCHEMA
    held = client.chart(SERIES[1]).verdicts.to_pandas()
    held = held[held["detector"] == "spc.individuals"].reset_index(drop=True)
    logged = (
        found.to_pandas()
        .astype({"statistic": str})
        .sort_values(["statistic", "offset"], ascending=[False, True])
        .reset_index(drop=True)
    )
    held = held.sort_values(["statistic", "offset"], ascending=[False, True]).reset_index(drop=True)
    for name in ("offset", "value", "centre", "lcl", "ucl", "valid"):
        np.testing.assert_array_equal(logged[name], held[name])  # bit for bit
    assert [list(each) for each in logged["signals"]] == [list(each) for each in held["signals"]]
    assert reader.read(["nobody"]).num_rows == 0
    assert (
        Verdicts(served.line.cluster.bootstrap_servers, "another", topic=served.line.sources.charts).read().num_rows
        == 0
    )
    with pytest.raises(TooManyRowsError, match="more than 10 verdicts"):
        reader.read(rows_max=10)
    times = sorted(found["event_time"].to_pylist())
    some = reader.read([SERIES[1]], detectors=["spc.individuals"], since=times[4], until=times[-1])
    assert min(some["event_time"].to_pylist()) == times[4]
    assert max(some["event_time"].to_pylist()) < times[-1]


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="a time with its zone is wanted"):
        Verdicts("127.0.0.1:1").read(since=datetime(2026, 1, 1))
    assert Verdicts("127.0.0.1:1").topic == CHARTS


def test_a_block_becomes_rows_of_what_is_wanted() -> None:
    wide = np.array([[1.0, 5.0], [2.0, np.nan], [3.0, 7.0]])
    rules = (RuleMeta("high", "", "WARNING"), RuleMeta("wide", "", "WARNING", 1))
    judged = DetectorColumns(
        "d@1-x",
        ("x", "MR"),
        rules,
        wide,
        wide,
        wide,
        wide,
        np.array([0, 1, 3], np.uint32),
        np.array([False, True, True]),
    )
    time_ms = np.array([1_000, 2_000, 3_000])
    numbers = np.array([1.0, np.nan, 3.0])
    block = ChartBlock(
        "p", "spc", "fab.measurements", 4, 1, 10, 13, ["a", "b"], np.array([0, 1, 0], np.int32), np.arange(10, 13), time_ms,
        time_ms, numbers, numbers, numbers, numbers, Texts.of(["L", "L", "M"]), Texts.of(["", "", ""]), {"d": judged},
        np.array([0, 1, 2], np.int32),
    )  # fmt: skip
    found = verdicts._rows(block, {"a"}, None, None, None)
    assert found is not None
    assert found.select(["offset", "sample", "statistic", "value", "signals", "lot", "input"]).to_pylist() == [
        {"offset": 10, "sample": 0, "statistic": "x", "value": 1.0, "signals": [], "lot": "L", "input": 1.0},
        {"offset": 12, "sample": 2, "statistic": "x", "value": 3.0, "signals": ["high"], "lot": "M", "input": 3.0},
        {"offset": 10, "sample": 0, "statistic": "MR", "value": 5.0, "signals": [], "lot": "L", "input": 1.0},
        {"offset": 12, "sample": 2, "statistic": "MR", "value": 7.0, "signals": ["wide"], "lot": "M", "input": 3.0},
    ]  # fmt: skip
    missing = verdicts._rows(block, {"b"}, {"d"}, 2_000, 3_000)
    assert missing is not None
    assert missing["value"].to_pylist() == [2.0, None]
    assert verdicts._rows(block, {"c"}, None, None, None) is None
    assert verdicts._rows(block, None, {"other"}, None, None) is None
    assert pa.concat_tables([found, missing]).num_rows == 6
    assert timedelta(0) == found["event_time"][0].as_py() - datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
