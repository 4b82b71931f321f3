"""The monitor: whether requests, answers and data are as they should be, week by week."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from pydantic import BaseModel, ConfigDict

from kiban.core import paths
from kiban.core.errors import KibanError
from kiban.evaluate.settings import Gate
from kiban.operate import archive, asked, collected, drift, quality, release, truth
from kiban.operate.archive import Archive
from kiban.operate.asked import Asked
from kiban.operate.drift import Drift
from kiban.operate.quality import Interval
from kiban.operate.rules import Monitoring
from kiban.operate.truth import Past, Truth
from kiban.operate.windows import Alarm, Window, refusals, silence, unusual, volume, worse
from kiban.request import logged
from kiban.request.logged import UNPROCESSABLE
from kiban.servable import evaluation, reference
from kiban.servable.load import Servable, load
from kiban.servable.reference import Block, Reference
from kiban.serve.released import REPORT, SERVABLE
from kiban.tasks.metric import Metric
from kiban.tasks.own import metrics_of

MOST_LATE = 3  # weeks from when a file of the log was begun to when its copy is brought
FORGOTTEN = timedelta(days=8)  # after which a host that is silent is one that was taken away
MOST_AHEAD = 5  # weeks from a prediction to the time of its record that are looked back on


class Report(BaseModel):
    """What the monitor says at a time of the model in production: alarms, weeks in order, and notes on what it cannot
    say. `metric` is the label of the gate's metric, and `promised` that of the test rows."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    model_id: str
    version: str
    metric: str
    greater_is_better: bool
    promised: float | None
    alarms: list[Alarm]
    windows: list[Window]
    notes: list[str]


@dataclass(frozen=True)
class Champion:
    """The model that is monitored, with its reference if it has one, and what was measured when it was made."""

    servable: Servable
    version: str
    reference: Reference | None
    promised: evaluation.Evaluation | None
    importance: Mapping[str, float]

    @cached_property
    def usual(self) -> drift.Past:
        return drift.past(self.reference) if self.reference else {}


def champion(root: Path) -> Champion:
    """The model in the release folder, or else that of the working tree. Raises KibanError if it cannot be loaded."""
    laid = release.current(root)
    folder, report, importance = (
        (root / "current" / SERVABLE, root / "current" / REPORT, root / "current" / release.IMPORTANCE.name)
        if laid
        else (paths.SERVABLE, paths.EVALUATION, release.IMPORTANCE)
    )
    version = laid.version if laid else "no version: the model of the working tree, since nothing is in production"
    return Champion(load(folder), version, reference.read(folder), _report(report), _importance(importance))


def _report(path: Path) -> evaluation.Evaluation | None:
    try:
        return evaluation.Evaluation.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _importance(path: Path) -> dict[str, float]:
    try:
        rows = pyarrow.csv.read_csv(path).to_pylist()
        return {str(row["feature"]): float(row["loss"]) for row in rows}
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return {}


class Seen(NamedTuple):
    """A report about a model, and what its weeks were like that have predictions, as the reference has its blocks.

    `rows` are the predictions in the log, and `weeks` those that are over, as the archive keeps them.
    """

    model: Champion
    report: Report
    blocks: list[Block]
    rows: pa.Table
    weeks: list[archive.Week]


class _Week(NamedTuple):
    """The rows of a week, and its number. The log may begin within the first week."""

    number: int
    inside: npt.NDArray[np.bool_]
    is_whole: bool


def look(now: datetime, root: Path, gate: Gate, settings: Monitoring, timezone: str) -> Seen:
    """Look at the model of a release folder, its log, and the accepted rows that are here.

    With KIBAN_PREDICTION_STORE in the environment the logs of other machines are looked at too. Raises KibanError if
    the model or the archive cannot be read, and as `monitor` does.
    """
    model = champion(root)
    table, own = model.servable.contract, logged.folder(Path())
    since = now - timedelta(weeks=settings.weeks + 1)
    problem = None
    kept = archive.read([archive.FOLDER, root / archive.NEWEST], table, since - timedelta(weeks=MOST_AHEAD))
    if address := logged.store():
        try:
            collected.bring(address, own, max(since, _seen_until(kept) - timedelta(weeks=MOST_LATE)))
        except KibanError as error:
            problem = Alarm(kind="silence", subject="store of the log", sentence=str(error))
    log = asked.read([own, collected.FOLDER] if address else [own], table)
    known = truth.read(model.servable, model.promised, timezone)
    seen = monitor(now, model, log, kept, known, gate, settings, timezone)
    alarms = [*([problem] if problem else []), *seen.report.alarms]
    return seen._replace(report=seen.report.model_copy(update={"alarms": alarms}))


def _seen_until(kept: Archive) -> datetime:
    """When the newest prediction was logged that the archive has."""
    return pc.max(kept.rows[asked.LOGGED_AT]).as_py() or datetime.min.replace(year=1970, tzinfo=UTC)


def monitor(
    now: datetime,
    model: Champion,
    log: Asked,
    kept: Archive,
    known: Truth,
    gate: Gate,
    settings: Monitoring,
    timezone: str,
) -> Seen:
    """What there is to say at the time `now`, of the last weeks that are over.

    Raises KibanError if the gate's metric is none of the model's task.
    """
    metric = _metric(model, gate)
    table = model.servable.contract
    rows = pa.concat_tables([log.rows, archive.without(kept.rows, log.rows)])
    times = asked.when(rows, table)
    past = known.expectations(metric)
    own = _own_rows(model, rows)
    joined, said = known.joined(own)
    joined_weeks = reference.weeks(asked.when(joined, table), timezone)
    if others := rows.num_rows - own.num_rows:
        said["of earlier models are counted, and not measured"] = others
    answered = _by_week(log.requests, timezone)
    by_contract = [(time, each.requests) for time, each in log.refused if each.status == UNPROCESSABLE]
    refused = _by_week(by_contract, timezone)
    windows: list[Window] = []
    weeks: list[archive.Week] = []
    for week in _weeks(times, now, settings.weeks, timezone):
        inside = rows.filter(pa.array(week.inside))
        before = [each for each in past if each.week < week.number]
        seen = archive.Week(
            first=reference.first_day(week.number),
            model_id=model.servable.model_id,
            answered=answered[week.number],
            refused=refused[week.number],
            block=_block(model, log.rows.filter(pa.array(week.inside[: log.rows.num_rows]))),
            expected=_expected(known, metric, _own_rows(model, inside), before),
        )
        seen = seen.with_what_was(kept.weeks.get((seen.first, seen.model_id)))
        weeks.append(seen)
        windows.append(
            Window(
                first=seen.first,
                predictions=round(float(np.sum(1 / inside[asked.SHARE].to_numpy()))),
                refused=_share(seen.refused, seen.answered),
                drift=_drift(model, seen.block, settings) if week.is_whole else [],
                expected=seen.expected,
                **known.real(metric, joined.filter(pa.array(joined_weeks == week.number)), gate.cluster)._asdict(),
            )
        )
    notes = [
        *_notes(model, log, kept, known, windows),
        *(f"{number:,} predictions {why}" for why, number in said.items()),
    ]
    promised = model.promised.test.get(gate.metric) if model.promised else None
    alarms = [
        *silence(now, windows, times, known, settings, timezone),
        *volume(model.reference, windows, settings),
        *refusals(windows, settings),
        *unusual(windows),
        *worse(windows, metric, promised, gate),
    ]
    report = Report(
        at=now,
        model_id=model.servable.model_id,
        version=model.version,
        metric=metric.label,
        greater_is_better=metric.greater_is_better,
        promised=promised,
        alarms=alarms,
        windows=windows,
        notes=notes,
    )
    return Seen(model, report, [week.block for week in weeks if week.block.rows], log.rows, weeks)


def _expected(truth: Truth, metric: Metric, rows: pa.Table, past: Sequence[Past]) -> Interval | None:
    """The metric of a week as its answers lead to expect, with what was known before it."""
    if not rows.num_rows:
        return None
    return quality.corrected(truth.expected(metric, rows), [(each.expected, each.real) for each in past])


def _own_rows(model: Champion, rows: pa.Table) -> pa.Table:
    """The predictions of the model itself, not of those before it."""
    return rows.filter(pc.equal(rows[asked.MODEL], model.servable.model_id))


def _metric(model: Champion, gate: Gate) -> Metric:
    metrics = metrics_of(model.servable.task)
    if gate.metric not in metrics:
        raise KibanError(f"the gate's metric {gate.metric} is none of {', '.join(metrics)}: correct it in conf/gate")
    return metrics[gate.metric]


def _weeks(times: pa.ChunkedArray, now: datetime, most: int, timezone: str) -> Iterator[_Week]:
    """The last weeks that are over, from the first with a prediction on."""
    if not len(times):
        return
    numbers = reference.weeks(times, timezone)
    present = int(reference.weeks(pa.chunked_array([pa.array([now], asked.TIME)]), timezone)[0])
    first = int(numbers.min())
    for number in range(max(first, present - most), present):
        yield _Week(number, numbers == number, number > first)


def _by_week(counted: Sequence[tuple[datetime, float]], timezone: str) -> Mapping[int, float]:
    """Numbers of requests, given with their times, by the number of the local week; 0 in a week without any."""
    numbers: dict[int, float] = defaultdict(float)
    times = pa.chunked_array([pa.array([time for time, _ in counted], asked.TIME)])
    for week, (_, number) in zip(reference.weeks(times, timezone).tolist(), counted, strict=True):
        numbers[week] += number
    return numbers


def _share(refused: float, answered: float) -> float:
    """The share of the requests that the contract refused."""
    return refused / (refused + answered) if refused else 0.0


def _drift(model: Champion, block: Block, settings: Monitoring) -> list[Drift]:
    if model.reference is None or not drift.can_judge(model.reference) or block.rows < drift.LEAST_ROWS:
        return []
    return drift.judge(
        model.reference,
        model.usual,
        block,
        model.importance,
        settings.weeks_per_false_alarm,
        settings.minimum_change,
    )


def _block(model: Champion, rows: pa.Table) -> Block:
    """What predictions are like, as the reference has it; answers are those of the model itself."""
    table = model.servable.contract
    asked_about = reference.block(
        reference.judged_columns(rows, None, table), model.reference.known if model.reference else {}
    )
    answers = reference.summary(_own_rows(model, rows).select(reference.answers_of(table)))
    return asked_about.model_copy(update={"columns": {**asked_about.columns, **answers}})


def _notes(model: Champion, log: Asked, kept: Archive, truth: Truth, windows: Sequence[Window]) -> Iterator[str]:
    if not windows:
        yield "no week with a prediction is over yet"
    if model.reference is None:
        yield "the model was made by an earlier release, which kept no reference: drift is not judged"
    elif not drift.can_judge(model.reference):
        yield (
            f"the model was made with {len(model.reference.blocks)} blocks of rows, and drift is judged from "
            f"{reference.GAP + drift.LEAST_BLOCKS} on"
        )
    if log.damaged:
        yield f"{log.damaged} lines of the prediction log are damaged"
    if log.rows.num_rows and kept.rows.num_rows:
        first, last = pc.min(log.rows[asked.LOGGED_AT]).as_py(), pc.max(kept.rows[asked.LOGGED_AT]).as_py()
        if first > last:
            yield (
                f"the prediction log begins at {first:%Y-%m-%d %H:%M}, and the last prediction before it that a cycle "
                f"saw is of {last:%Y-%m-%d %H:%M}: what was deleted between is lost. Let cycles run more often, or "
                "give the log more room"
            )
    yield from _quiet(log.hosts)
    yield from truth.notes


def _quiet(hosts: Mapping[str, datetime]) -> Iterator[str]:
    """Machines that have written nothing for a day in which others have."""
    newest = max(hosts.values(), default=None)
    for host, last in sorted(hosts.items()):
        if newest and timedelta(days=1) < newest - last < FORGOTTEN:
            times = f"{last:%Y-%m-%d %H:%M}, others at {newest:%Y-%m-%d %H:%M}"
            yield f"the host {host or 'without a name'} logged last at {times}"
