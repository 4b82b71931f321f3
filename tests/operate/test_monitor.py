"""`kiban monitor` on a log of real flights: what was asked, what came true, and who is told."""

import gzip
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from slice import prepared_rows

from kiban.cli.monitor import monitor
from kiban.core.errors import KibanError
from kiban.core.settings import Sections, read
from kiban.data import parquet
from kiban.evaluate.settings import Gate
from kiban.operate import alarms, archive, asked, truth
from kiban.operate import monitor as monitoring
from kiban.operate.monitor import Seen
from kiban.operate.rules import Monitoring
from kiban.operate.windows import Alarm
from kiban.request import logged
from kiban.request.logged import Reason
from kiban.request.predictions import ANSWERS
from kiban.servable import columns
from kiban.servable.load import load
from kiban.tasks.binary import METRICS
from kiban.tasks.metric import Scored

Record = dict[str, Any]


class Params(Sections):
    gate: Gate


def run(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(monitor, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.stdout


def report(*arguments: str, status: int = 0) -> Any:
    return json.loads(run("--json", *arguments, status=status))


@pytest.fixture
def log(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write a log of the flights of March, each asked an hour before its departure."""
    monkeypatch.delenv("KIBAN_RELEASE", raising=False)
    monkeypatch.setenv("KIBAN_PREDICTION_LOG", str(project / "log"))
    (project / "log").mkdir()
    servable = load()

    def write(change: Callable[[Record], Record | None] = lambda record: record, share: float = 1.0) -> None:
        rows = prepared_rows("2013-03")
        table = servable.contract
        answers = ANSWERS["binary"].predictions(servable, servable.score(columns.from_arrow(rows, table.features())))
        lines = []
        for record, answer in zip(rows.select([*table.features(), *table.keys()]).to_pylist(), answers, strict=True):
            time = record["scheduled_departure"] - timedelta(hours=1)
            if (changed := change(record)) is not None:
                lines.append(logged.answered(time, "id", servable.model_id, [changed], [answer], [], [], share))
        (project / "log" / logged.file_name(datetime(2013, 3, 1, tzinfo=UTC))).write_bytes(b"".join(lines))

    return write


def test_answers_are_measured_by_what_came_true(log: Callable[..., None]) -> None:
    log()
    said = report("--now", "2013-03-12")
    rows, servable = prepared_rows("2013-03"), load()
    # The slice has the first six days of March, of which the last three are a week's.
    weeks = {window["first"]: window for window in said["windows"]}
    assert sum(window["with_truth"] for window in weeks.values()) == rows.num_rows
    assert sum(window["predictions"] for window in weeks.values()) == rows.num_rows
    gate = read(Params).gate
    inside = [time.date().isoformat() >= "2013-03-04" for time in local(rows)]
    part = rows.filter(inside)
    scores = servable.score(columns.from_arrow(part, servable.contract.features()))
    real = METRICS[gate.metric].value(Scored(part["late"].to_numpy(), scores).weighted())
    assert weeks["2013-03-04"]["real"]["value"] == pytest.approx(real)
    assert said["promised"] is not None
    assert any("drift is judged from" in note for note in said["notes"])  # six days a month are too few weeks


def local(rows: Any) -> list[datetime]:
    from zoneinfo import ZoneInfo

    return [time.astimezone(ZoneInfo("America/New_York")) for time in rows["scheduled_departure"].to_pylist()]


def test_of_several_predictions_the_last_before_the_time_counts(log: Callable[..., None], project: Path) -> None:
    log()
    servable = load()
    (path,) = (project / "log").iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    first = lines[0]

    def again(minutes: int, probability: float, **record: Any) -> bytes:
        time = datetime.fromisoformat(first["time"]) + timedelta(minutes=minutes)
        records = [{**first["request"]["records"][0], **record}]
        answer = [{"probability": probability, "label": False}]
        return logged.answered(time, "again", servable.model_id, records, answer, [], [])

    more = again(30, 0.25) + again(90, 0.75) + again(30, 0.5, flight=None) + b'{"time": "2013-03-01'
    (project / "log" / logged.file_name(datetime(2013, 3, 9, tzinfo=UTC))).write_bytes(more)
    known = asked.read([project / "log"], servable.contract)
    assert (known.rows.num_rows, known.damaged) == (len(lines) + 3, 1)
    one, said = asked.one_for_each_key(known.rows, servable.contract)
    assert one.num_rows == len(lines)
    assert dict(said) == {"without a whole key": 1, "asked again": 2}
    flight = first["request"]["records"][0]["flight"]
    key = (flight, first["time"][:10])
    row = next(each for each in one.to_pylist() if (each["flight"], f"{each[asked.LOGGED_AT]:%Y-%m-%d}") == key)
    assert row[asked.answers_of(servable.contract)[0]] == 0.25


def test_a_share_and_refusals_are_counted(log: Callable[..., None], project: Path) -> None:
    log(share=0.5)
    rows = prepared_rows("2013-03").num_rows
    said = report("--now", "2013-03-12")
    assert sum(window["predictions"] for window in said["windows"]) == 2 * rows
    refused = {Reason("id", 422, ("origin",)): 5 * rows, Reason("id", 400, ()): 9}
    line = logged.refused(datetime(2013, 3, 5, 12, tzinfo=UTC), refused)
    (project / "log" / logged.file_name(datetime(2013, 3, 5, tzinfo=UTC))).write_bytes(line)
    said = report("--now", "2013-03-12", status=4)
    assert "refused" in [alarm["subject"] for alarm in said["alarms"]]
    assert said["windows"][-1]["refused"] > 0.7


def test_silence_is_an_alarm(log: Callable[..., None]) -> None:
    log(lambda record: None if record["scheduled_departure"].day == 5 else record)
    assert report("--now", "2013-04-01", status=4)["alarms"][0]["subject"] == "requests"  # none since the sixth
    late = report("--now", "2013-05-20", status=4)["alarms"]
    assert {alarm["subject"] for alarm in late} == {"requests", "batch"}
    assert "the newest accepted batch is 2013-03; the next one was due on 2013-05-09" in late[-1]["sentence"]


def test_what_the_log_has_lost_is_in_the_archive(log: Callable[..., None], project: Path) -> None:
    log(share=0.5)
    refused = logged.refused(datetime(2013, 3, 5, 12, tzinfo=UTC), {Reason("id", 422, ("origin",)): 9})
    (project / "log" / logged.file_name(datetime(2013, 3, 5, tzinfo=UTC))).write_bytes(refused)
    before = report("--now", "2013-03-12")
    seen = look()
    archive.keep(project / "release/log", seen.rows, seen.weeks, load().contract)
    assert archive.is_behind(project / "release/log")
    archive.publish(project / "release/log", load().contract)
    assert not archive.is_behind(project / "release/log")
    assert "origin" not in parquet.read(Path("monitoring/log/2013-03.parquet")).schema.names
    for path in (project / "log").iterdir():
        path.unlink()
    assert report("--now", "2013-03-12") == before
    archive.publish(project / "release/log", load().contract)  # they are in a commit
    assert [path.name for path in (project / "release/log").iterdir()] == ["weeks.json"]
    assert report("--now", "2013-03-12") == before
    later = logged.answered(
        datetime(2013, 3, 20, tzinfo=UTC), "id", load().model_id, [{}], [{"probability": 0.5}], [], []
    )
    (project / "log" / logged.file_name(datetime(2013, 3, 20, tzinfo=UTC))).write_bytes(later)
    notes = report("--now", "2013-03-12")["notes"]
    assert any("begins at 2013-03-20 00:00" in note and "is lost" in note for note in notes)


def look() -> Seen:
    now = datetime(2013, 3, 12, tzinfo=UTC)
    return monitoring.look(now, Path("release"), read(Params).gate, Monitoring(), "America/New_York")


def test_a_line_is_counted_once_wherever_it_is(log: Callable[..., None], project: Path) -> None:
    log()
    before = look().report
    seen = look()
    archive.keep(project / "release/log", seen.rows, seen.weeks, load().contract)
    content = (project / "release/log/2013-03.parquet").read_bytes()
    archive.keep(project / "release/log", seen.rows, seen.weeks, load().contract)
    assert (project / "release/log/2013-03.parquet").read_bytes() == content
    (path,) = (project / "log").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[len(lines) // 2 :]))  # the older half is in the archive alone
    assert look().report == before


def test_an_archive_of_another_contract_is_read(log: Callable[..., None], project: Path) -> None:
    log()
    seen, contract = look(), load().contract
    archive.keep(project / "kept", seen.rows, seen.weeks, contract)
    flight = contract.columns["flight"].model_copy(update={"type": "string"})
    other = contract.model_copy(update={"columns": {**contract.columns, "flight": flight}})
    assert archive.read([project / "kept"], other).rows["flight"].null_count == 0
    other = contract.model_copy(update={"key": ["flight", "scheduled_departure", "origin"]})
    assert archive.read([project / "kept"], other).rows["origin"].null_count == seen.rows.num_rows
    (project / "kept/weeks.json").write_text("[{")
    with pytest.raises(KibanError, match="kept/weeks.json cannot be read"):
        archive.read([project / "kept"], contract)


def test_the_logs_of_other_machines_are_looked_at(
    log: Callable[..., None], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log()
    before = look().report
    (path,) = (project / "log").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    middle, copies = len(lines) // 2, project / "store/20130301"
    monkeypatch.setenv(logged.STORE, str(project / "store"))
    (alarm,) = [each for each in look().report.alarms if each.subject == "store of the log"]
    assert "has no copies" in alarm.sentence
    copies.mkdir(parents=True)
    for host, part in {"one": lines[:middle], "two": lines[middle:]}.items():
        content = gzip.compress(b"".join(part))
        (
            copies / f"{logged.file_name(datetime(2013, 3, 1, tzinfo=UTC)).partition('-')[0]}-{host}-7.jsonl.gz"
        ).write_bytes(content)
    (copies / "notes.txt").write_text("no log")
    path.unlink()
    said = look().report
    assert said.windows == before.windows
    assert any("the host one logged last at 2013-03-0" in note for note in said.notes)
    monkeypatch.setattr(monitoring, "MOST_AHEAD", 0)
    late = datetime(2013, 8, 12, tzinfo=UTC)
    monitoring.look(late, Path("release"), read(Params).gate, Monitoring(), "America/New_York")
    assert not list(Path(".kiban_cache/predictions").iterdir())  # nobody looks at these any more


def test_a_cycle_that_was_missed_is_an_alarm(log: Callable[..., None], project: Path) -> None:
    (project / "release").mkdir()
    last = {"started": "2013-03-30T06:00:00Z", "overdue": "2013-03-31T18:00:00Z"}
    (project / "release/last-cycle.json").write_text(json.dumps(last))
    assert report("--now", "2013-03-31T12:00:00")["alarms"] == []
    (alarm,) = report("--now", "2013-04-01", status=4)["alarms"]
    assert (alarm["kind"], alarm["subject"]) == ("silence", "cycle")


def test_nothing_that_was_asked_is_no_fault(log: Callable[..., None], tmp_path: Path) -> None:
    said = report("--now", "2013-04-01")
    assert (said["windows"], said["alarms"]) == ([], [])
    assert "no week with a prediction is over yet" in said["notes"]
    run("--now", "2013-04-01", "--page", "page.html")
    assert "No alarm." in Path("page.html").read_text()


def test_the_page_shows_what_was_asked(log: Callable[..., None]) -> None:
    log()
    assert "ALARM: silence, requests: no prediction in the week from 2013-03-18" in run(
        "--now", "2013-04-01", "--page", "pages/page.html", status=4
    )
    page = Path("pages/page.html").read_text()
    assert "no prediction in the week" in page
    assert page.count("<figure>") > 20
    assert "http" not in page.replace("http-equiv", "")


def test_an_alarm_is_told_once_and_again_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = tmp_path / "told.jsonl"
    script = tmp_path / "tell.py"
    script.write_text(f"import sys; open({str(told)!r}, 'a').write(sys.stdin.read() + '\\n')")
    now = datetime(2013, 4, 1, tzinfo=UTC)
    alarm = Alarm(kind="silence", subject="batch", sentence="it is late")
    monkeypatch.setenv(alarms.COMMAND, "no-such-command")
    path = tmp_path / "alarms.json"
    assert "was not told" in " ".join(alarms.record([alarm], now, path))
    monkeypatch.setenv(alarms.COMMAND, f"{sys.executable} {script}")
    for moment in range(3):
        assert list(alarms.record([alarm], now + timedelta(days=moment), path)) == []
    (opened,) = alarms.read(path)
    assert (opened.since, opened.told) == (now, True)
    other = Alarm(kind="drift", subject="distance", sentence="it is longer")
    assert list(alarms.record([alarm, other], now, path)) == []
    alarms.show(alarms.read(path))
    assert [each.subject for each in alarms.read()] == ["batch", "distance"]
    monkeypatch.setenv(alarms.COMMAND, "no-such-command")
    assert "was not told" in " ".join(alarms.record([other], now, path))  # the end is told the next time
    monkeypatch.setenv(alarms.COMMAND, f"{sys.executable} {script}")
    assert list(alarms.record([other], now, path)) == []
    events = [(each["event"], each["subject"]) for each in map(json.loads, told.read_text().splitlines())]
    assert events == [("begun", "batch"), ("begun", "distance"), ("ended", "batch")]
    monkeypatch.setenv(alarms.ADDRESS, "file:///etc/passwd")
    assert "no address of http" in " ".join(alarms.record([], now, path))


def test_answers_of_an_earlier_model_are_not_measured(log: Callable[..., None], project: Path) -> None:
    log()
    (path,) = (project / "log").iterdir()
    path.write_text(path.read_text().replace(load().model_id, "0" * 64))
    said = report("--now", "2013-03-12")
    assert all(window["real"] is None for window in said["windows"])
    assert any("of earlier models are counted" in note for note in said["notes"])


def test_odd_times_and_names_of_columns_are_no_matter(log: Callable[..., None]) -> None:
    log(lambda record: {**record, "scheduled_departure": "0001-01-01T00:00:00Z"} if record["flight"] == 1 else record)
    assert report("--now", "2013-03-12")["windows"]
    contract = load().contract
    columns = dict.fromkeys(("model", "share", "place", "logged at"), contract.columns["distance"])
    odd = contract.model_copy(update={"columns": {**contract.columns, **columns}})
    rows = asked.read([Path("log")], odd).rows
    assert asked.one_for_each_key(rows, odd)[0].num_rows


def test_a_table_without_a_key_is_not_measured(log: Callable[..., None]) -> None:
    log()
    contract = load().contract
    keyless = contract.model_copy(update={"key": ["row_hash"], "time": None})
    rows, said = asked.one_for_each_key(asked.read([Path("log")], contract).rows, keyless)
    assert rows.num_rows == 0
    assert "no key that a caller could give" in next(iter(said))
    known = truth.read(load(), None, "America/New_York")
    keyless_servable = replace(known.servable, contract=keyless)
    rows = asked.read([Path("log")], contract).rows
    archive.keep(Path("kept"), rows, [], keyless)
    assert archive.read([Path("kept")], keyless).rows.num_rows == rows.num_rows
    joined, said = replace(known, servable=keyless_servable).joined(rows)
    assert (joined.num_rows, len(said)) == (0, 1)
