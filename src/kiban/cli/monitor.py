"""`kiban monitor`: whether requests, answers and data are as they should be."""

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kiban.cli import reasons
from kiban.cli.places import Place
from kiban.cli.tables import show
from kiban.core.errors import KibanError
from kiban.core.settings import Sections, read
from kiban.data.settings import Identity
from kiban.evaluate.settings import Gate

if TYPE_CHECKING:
    from kiban.operate.monitor import Report
    from kiban.operate.rules import Monitoring


class Params(Sections):
    dataset: Identity
    gate: Gate


@click.command()
@reasons.now
@click.option("--page", type=Place(dir_okay=False, path_type=Path), help="Write a page (HTML) to this file.")
@click.option("--record", is_flag=True, help="Remember the open alarms, and tell those that begin or end.")
@click.option("--calibrate", is_flag=True, help="Count false alarms and planted faults on the accepted data; no more.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def monitor(now: datetime, page: Path | None, record: bool, calibrate: bool, as_json: bool) -> None:
    """Say how the model in production is doing: requests, drift, what quality is expected, and what it was.

    It reads the prediction log, the release folder, and the accepted data. Exit status 4 if there is an alarm.
    KIBAN_ALARM_COMMAND is a command that reads an alarm as JSON, KIBAN_ALARM_URL an address that takes it by POST.

    \b
    Examples:
      kiban monitor
      kiban monitor --record --page monitoring/index.html
    """
    from kiban.core import files
    from kiban.operate import alarms, monitor_page, release, rules, windows
    from kiban.operate import monitor as monitoring
    from kiban.operate.last_cycle import ALARM
    from kiban.serve import released

    params = read(Params)
    dataset, root = params.dataset, release.root()
    settings = rules.read(dataset.name).monitor
    if calibrate:
        _calibrate(root, dataset.timezone, settings)
        return
    seen = monitoring.look(now, root, params.gate, settings, dataset.timezone)
    missed = windows.missed(now, released.last_cycle(root))
    report = seen.report.model_copy(update={"alarms": [*missed, *seen.report.alarms]})
    seen = seen._replace(report=report)
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        files.write(page, monitor_page.page(seen, dataset.name).encode())
    if record:
        for problem in alarms.record(report.alarms, now, root / alarms.FILE.name):
            click.echo(problem, err=True)
    if as_json:
        print(report.model_dump_json(indent=1))
    else:
        _show(report)
    if report.alarms:
        sys.exit(ALARM)


def _calibrate(root: Path, timezone: str, settings: "Monitoring") -> None:
    """Print the rate of false alarms, and how soon planted faults are found."""
    from rich.progress import track

    from kiban.operate import calibration, monitor, truth

    model = monitor.champion(root)
    known = truth.read(model.servable, model.promised, timezone)
    origins = calibration.origins(model, known)
    if not origins or not any(len(origin.after) > calibration.FIRST for origin in origins):
        raise KibanError("there are too few accepted weeks to count alarms in: ten before, and three after them")
    rate = calibration.rate(origins, settings)
    print(
        f"alarms of drift in {rate.alarms} of {rate.weeks} honest weeks: {rate.alarms / rate.weeks:.1%} "
        f"({rate.low:.1%} to {rate.high:.1%}); {1 / settings.weeks_per_false_alarm:.0%} is allowed"
    )
    found = list(track(calibration.planted(origins, settings), description="faults", transient=True))
    rows = [[each.fault, f"{each.found} of {each.origins}", f"{each.weeks:g}" if each.found else "-"] for each in found]
    show("", ["planted", "found", "weeks until the alarm, median"], rows)


def _show(report: "Report") -> None:
    print(f"model {report.model_id[:12]} ({report.version})")
    rows = [
        [
            str(window.first),
            f"{window.predictions:,}",
            f"{window.refused:.1%}",
            ", ".join(f"{each.column} ({each.check})" for each in window.drift if each.is_unusual) or "-",
            window.expected.in_words if window.expected else "-",
            window.real.in_words if window.real else "-",
        ]
        for window in report.windows
    ]
    if rows:
        headings = ["week from", "predictions", "refused", "unusual", f"{report.metric}, expected", "real"]
        show("", headings, rows)
    for note in report.notes:
        print(f"note: {note}")
    for alarm in report.alarms:
        print(f"ALARM: {alarm.kind}, {alarm.subject}: {alarm.sentence}")
