"""`kiban score` on real flights, beside the endpoint, on a full disk and with a real S3 store."""

import csv
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from datetime import datetime
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from http_cases import client_of
from servers import Store

from kiban.cli.score import score
from kiban.core.errors import KibanError
from kiban.core.paths import EVALUATION
from kiban.core.settings import Sections, read
from kiban.data.written import WrittenFile
from kiban.score.read import opened
from kiban.servable.load import load
from kiban.serve.model import Served
from kiban.serve.settings import Serving
from kiban.sources import stores


class Params(Sections):
    serving: Serving


@pytest.fixture
def flights(project: Path) -> pa.Table:
    """Prepared flights of March, with their key and whether they were late."""
    (file,) = Path("data/prepared/flights").glob("2013-03.parquet")
    return pq.read_table(file, partitioning=None).slice(0, 2000)


def run(*arguments: str) -> str:
    """What the command says on both streams."""
    done = CliRunner().invoke(score, arguments)
    if done.exception:
        raise done.exception
    return done.output


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_predictions_are_logged_with_their_keys(
    flights: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setenv("KIBAN_PREDICTION_LOG", str(tmp_path / "log"))
    write(flights, f"in{suffix}")
    with pytest.raises(KibanError):
        run(f"in{suffix}", "nowhere/out.csv", "--log")
    assert not list((tmp_path / "log").glob("*"))
    run(f"in{suffix}", "out.parquet", "--log")
    (file,) = (tmp_path / "log").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    records = [record for line in lines for record in line["request"]["records"]]
    predictions = [prediction for line in lines for prediction in line["answer"]["predictions"]]
    assert [record["flight"] for record in records] == flights["flight"].to_pylist()
    times = [datetime.fromisoformat(record["scheduled_departure"]) for record in records]
    assert times == flights["scheduled_departure"].to_pylist()
    assert "late" not in records[0]
    assert [each["probability"] for each in predictions] == pq.read_table("out.parquet")["probability"].to_pylist()
    assert file.stat().st_mode & 0o777 == 0o600


def answered(rows: pa.Table) -> list[tuple[float, bool]]:
    """What the endpoint answers about the rows."""
    served = Served(load(), read(Params).serving, EVALUATION)
    body = io.BytesIO()
    pyarrow.csv.write_csv(rows.select(list(served.schema.features)), body)
    header, *lines = body.getvalue().splitlines()
    client, found = client_of(served), []
    for first in range(0, len(lines), 1000):
        content = b"\n".join([header, *lines[first : first + 1000]])
        text = client.post("/invocations", content=content, headers={"content-type": "text/csv"}).text
        found += [(float(probability), label == "true") for probability, label in csv.reader(io.StringIO(text))]
    return found


def read_table(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path)
    return pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True))


@pytest.mark.parametrize(
    ("input_file", "target"),
    [
        *product(["in.csv", "in.csv.gz", "in.parquet"], ["out.csv", "out.parquet"]),
        *product(["in.jsonl", "in.csv.zip", "in"], ["out.csv"]),
    ],
)
def test_a_file_gets_the_endpoints_answers(flights: pa.Table, input_file: str, target: str) -> None:
    write(flights, input_file)
    said = run(input_file, target)
    assert f"score: 2,000 rows by model {load().model_id[:12]}" in said
    found = read_table(Path(target))
    assert found.column_names == [*flights.column_names, "probability", "label", "model_id"]
    for name in load().contract.features():
        assert found[name].cast(flights[name].type).equals(flights[name])
    expected = answered(flights)
    assert found["label"].to_pylist() == [label for _, label in expected]
    probabilities = found["probability"].to_pylist()
    assert max(abs(one - other) for one, (other, _) in zip(probabilities, expected, strict=True)) < 1e-6
    assert set(found["model_id"].to_pylist()) == {load().model_id}
    assert not list(Path().glob(".*.part"))
    assert not list(Path().glob("*.rejected.csv"))


def write(rows: pa.Table, path: str) -> None:
    if path.endswith(".parquet"):
        pq.write_table(rows, path)
        return
    if path.endswith(".jsonl"):
        lines = [json.dumps(row, default=lambda value: value.isoformat()) for row in rows.to_pylist()]
        Path(path).write_text("\n".join(lines))
        return
    content = io.BytesIO()
    pyarrow.csv.write_csv(rows, content)
    if path.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("in.csv", content.getvalue())
        return
    if path == "in":  # a folder
        Path(path).mkdir()
        write(rows.slice(0, 700), "in/a.csv")
        write(rows.slice(700), "in/b.csv")
        return
    Path(path).write_bytes(gzip.compress(content.getvalue()) if path.endswith(".gz") else content.getvalue())


def spoiled(flights: pa.Table) -> dict[int, str]:
    """Write in.csv with rows that are wrong; their numbers, and what is said of each."""
    write(flights, "in.csv")
    lines = Path("in.csv").read_text().splitlines()
    lines[3] = re.sub('"(EWR|JFK|LGA)"', '"XXX"', lines[3])
    lines[7] += ",more"
    lines[1500] = "short"
    lines[2000] = (
        lines[2000].replace('"Sat"', '""').replace('"Sun"', '""').replace('"Fri"', '""').replace('"Mon"', '""')
    )
    Path("in.csv").write_text("\n".join(lines) + "\n")
    width = len(flights.column_names)
    return {
        3: 'origin: "XXX" is not among the levels (allowed: one of EWR, JFK, LGA)',
        7: f"it has {width + 1} fields, the header {width}",
        1500: f"it has 1 fields, the header {width}",
        2000: "weekday: it is missing (allowed: one of Mon, Tue, Wed, Thu, Fri, Sat, Sun)",
    }


def test_a_bad_row_stops_and_leaves_what_was_there(flights: pa.Table) -> None:
    spoiled(flights)
    Path("out.csv").write_text("as it was")
    with pytest.raises(
        KibanError, match=r'^in\.csv, row 3: origin: "XXX" is not among the levels .* Nothing was written'
    ):
        run("in.csv", "out.csv")
    assert Path("out.csv").read_text() == "as it was"
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith("out")) == ["out.csv"]


def test_bad_rows_go_to_a_side_file_with_their_reasons(flights: pa.Table) -> None:
    expected = spoiled(flights)
    said = run("in.csv", "out.parquet", "--on-error", "skip")
    assert "score: 4 rows rejected: out.parquet.rejected.csv" in said
    with Path("out.parquet.rejected.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["rejected_row"]): row["rejected_because"] for row in rows} == expected
    assert rows[0]["origin"] == "XXX"
    assert rows[0]["flight"] == str(flights["flight"][2].as_py())
    found = pq.read_table("out.parquet")
    good = flights.filter(pa.array([row + 1 not in expected for row in range(2000)]))
    assert found["flight"].cast("int64").equals(good["flight"].cast("int64"))
    # What is mended there can be scored, as any file.
    text = Path("out.parquet.rejected.csv").read_text().replace("XXX", "EWR")
    Path("mended.csv").write_text(text)
    run("mended.csv", "out2.csv", "--on-error", "skip")
    assert read_table(Path("out2.csv")).num_rows == 1


def test_lines_that_are_malformed_at_the_end_or_all_of_them_are_rejected(flights: pa.Table) -> None:
    write(flights.slice(0, 2), "in.csv")
    lines = Path("in.csv").read_text().splitlines()
    Path("in.csv").write_text("\n".join([lines[0], "a", lines[1], "", lines[2], "b,c"]) + "\n")
    said = run("in.csv", "out.csv", "--on-error", "skip")
    assert "score: 2 rows by model" in said
    with Path("out.csv.rejected.csv").open(newline="") as file:
        assert [row["rejected_row"] for row in csv.DictReader(file)] == ["1", "4"]
    Path("in.csv").write_text(f"{lines[0]}\nonly\n")
    assert "score: 0 rows by model" in run("in.csv", "out.csv", "--on-error", "skip")
    Path("in.csv").write_text(f"{lines[0]}\n")
    assert "score: 0 rows by model" in run("in.csv", "out.parquet")
    assert pq.read_table("out.parquet").num_rows == 0


def test_rows_are_numbered_through_many_pieces(flights: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiban.sources.text.PIECE", 20_000)
    expected = spoiled(flights)
    run("in.csv", "out.csv", "--on-error", "skip")
    with Path("out.csv.rejected.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["rejected_row"]): row["rejected_because"] for row in rows} == expected
    assert read_table(Path("out.csv")).num_rows == 1996


def noted(flights: pa.Table, notes: dict[int, str], line_end: str = "\n") -> None:
    """Write in.csv without quotes, with a last column that the model does not know; `notes` are as they stand there."""
    body = io.StringIO()
    csv.writer(body, lineterminator="\n").writerows(
        [flights.column_names, *(row.values() for row in flights.to_pylist())]
    )
    header, *lines = body.getvalue().splitlines()
    rows = [f"{line},{notes.get(number, 'none')}" for number, line in enumerate(lines, start=1)]
    Path("in.csv").write_bytes(line_end.join([f"{header},note", *rows, ""]).encode())


def test_a_quote_that_was_forgotten_swallows_no_rows(flights: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiban.sources.text.PIECE", 20_000)
    noted(flights, {3: '"oops'})
    for way in ("stop", "skip"):
        with pytest.raises(KibanError, match=r"^in\.csv, row 3: a quote is opened and not closed$"):
            run("in.csv", "out.csv", "--on-error", way)
    noted(flights, {3: '"oops', 5: '"oops', 100: '"U"A"', 2000: '"'})
    with pytest.raises(KibanError, match=r"^in\.csv, row 3: wrong quotes: ',' expected after '\"'\. Nothing was"):
        run("in.csv", "out.csv")
    with pytest.raises(KibanError, match=r"^in\.csv, row 1998: a quote is opened and not closed$"):  # 3 to 5 are one
        run("in.csv", "out.csv", "--on-error", "skip")
    noted(flights, {3: '"oops', 5: '"oops', 100: '"U"A"'})
    assert "score: 1,996 rows" in run("in.csv", "out.csv", "--on-error", "skip")
    with Path("out.csv.rejected.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["rejected_row"], second["rejected_row"]) == ("3", "98")
    assert len(next(value for name, value in first.items() if not name.startswith("rejected")).splitlines()) == 3


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_values_may_have_quotes_commas_and_lines(
    flights: pa.Table, line_end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = {number: f'"say ""{number}"", {line_end}twice"' for number in range(1, 2001)}
    noted(flights, notes | {7: '"plain"', 8: '""', 9: ""}, line_end)
    expected = [note.strip('"').replace('""', '"') for note in notes.values()]
    expected[6:9] = ["plain", None, None]
    for piece in (20_000, 4 << 20):
        monkeypatch.setattr("kiban.sources.text.PIECE", piece)
        run("in.csv", "out.parquet")
        assert pq.read_table("out.parquet")["note"].to_pylist() == expected


def test_two_runs_to_one_output_end_with_one_of_both(flights: pa.Table) -> None:
    write(pa.concat_tables([flights] * 100), "large.parquet")
    write(flights, "small.parquet")
    command = [sys.executable, "-c", "from kiban.cli import main; main()", "score"]
    large = subprocess.Popen([*command, "large.parquet", "out.parquet"], stdout=subprocess.PIPE)
    until_there_is_a_part()
    run("small.parquet", "out.parquet")
    assert pq.read_table("out.parquet").num_rows == 2000
    assert large.wait(60) == 0
    assert pq.read_table("out.parquet").num_rows == 200_000
    assert not list(Path().glob(".*.part"))


def until_there_is_a_part() -> None:
    ends = time.monotonic() + 30
    while not list(Path().glob(".*.part")):
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_ended_leaves_nothing(flights: pa.Table, number: signal.Signals) -> None:
    write(pa.concat_tables([flights] * 200), "in.parquet")
    command = [sys.executable, "-c", "from kiban.cli import main; main()", "score", "in.parquet", "out.csv"]
    process = subprocess.Popen(
        [*command, "--on-error", "skip"],
        stderr=subprocess.PIPE,
        text=True,
        # As in a terminal: what runs in a script's background, this test among it, has SIGINT ignored for its children.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    until_there_is_a_part()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (1 if number == signal.SIGINT else 128 + number)
    assert "Traceback" not in said
    assert not [path.name for path in Path().iterdir() if "out" in path.name]


def test_no_other_thread_reads_the_file(flights: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that still held a part of it when Python ends would abort the process."""
    threads = set()

    class Watched(io.FileIO):
        def readinto(self, buffer: Any) -> int | None:
            threads.add(threading.get_ident())
            return super().readinto(buffer)

        def read(self, size: int | None = -1) -> bytes:
            threads.add(threading.get_ident())
            return super().read(size)

    write(flights, "in.parquet")
    monkeypatch.setattr(type(stores.system("in.parquet")), "open", lambda _, path, mode: Watched(path, mode))
    with opened("in.parquet", WrittenFile()) as table:
        assert sum(len(piece.numbers) for piece in table.pieces) == 2000
    assert threads == {threading.get_ident()}


def test_an_output_keeps_its_mode_and_its_link(flights: pa.Table) -> None:
    write(flights, "in.parquet")
    Path("real.csv").touch(mode=0o600)
    Path("out.csv").symlink_to("real.csv")
    run("in.parquet", "out.csv")
    assert Path("out.csv").is_symlink()
    assert Path("real.csv").stat().st_mode & 0o777 == 0o600
    assert read_table(Path("real.csv")).num_rows == 2000


def test_what_an_earlier_run_has_rejected_is_said(flights: pa.Table) -> None:
    spoiled(flights)
    run("in.csv", "out.csv", "--on-error", "skip")
    write(flights, "in.csv")
    assert "warning: out.csv.rejected.csv is from an earlier run" in run("in.csv", "out.csv")


def test_long_values_do_not_fill_the_memory(flights: pa.Table) -> None:
    notes = pa.array([f"{number:05}" + "x" * 20_000 for number in range(2000)])
    write(pa.concat_tables([flights.append_column("note", notes)] * 3), "in.parquet")
    with opened("in.parquet", WrittenFile()) as found:
        pieces = list(found.pieces)
    assert sum(len(piece.numbers) for piece in pieces) == 6000
    assert max(piece.rows.nbytes for piece in pieces) < 50_000_000


def test_an_input_is_never_overwritten(flights: pa.Table) -> None:
    write(flights, "out.csv.rejected.csv")
    for output in ("out.csv.rejected.csv", "out.csv", f"{Path.cwd()}/out.csv.rejected.csv"):
        with pytest.raises(
            KibanError, match=r"^out\.csv\.rejected\.csv would be overwritten: give OUTPUT another name$"
        ):
            run("out.csv.rejected.csv", output)


def test_columns_that_are_absent_are_said(flights: pa.Table) -> None:
    write(flights.drop_columns(["plane_seats", "weather_temperature"]), "in.parquet")
    assert "absent columns, null in every row: plane_seats, weather_temperature\n" in run("in.parquet", "out.csv")
    write(flights.drop_columns(["carrier"]), "in.parquet")
    with pytest.raises(KibanError, match=r"^in\.parquet has no column 'carrier', which the model requires; it has "):
        run("in.parquet", "out.csv")


@pytest.mark.parametrize(
    ("input_file", "content", "target", "problem"),
    [
        ("no.csv", None, "out.csv", r"no\.csv cannot be read: .*No such file"),
        ("in.xlsx", b"", "out.csv", r"in\.xlsx is a spreadsheet: save the sheet as CSV"),
        ("in.doc", b"", "out.csv", r"in\.doc: a name must end with \.csv, "),
        ("in.csv", b"", "out.xlsx", r"out\.xlsx: a name must end with \.csv or \.parquet"),
        ("in.csv", b"", "out.csv", r"in\.csv is empty: the first line of a CSV file has the names"),
        ("in.csv", b"a,a\n1,2\n", "out.csv", r"in\.csv: column 'a' occurs twice"),
        ("in.csv", b"label\n1\n", "out.csv", r"in\.csv has no column"),
        (
            "in.csv",
            b"a\n\n\xff\xfe\n",
            "out.csv",
            r"in\.csv, line 3 is not UTF-8 \(invalid start byte\): save it as UTF-8$",
        ),
        (
            "in.csv",
            b'a,"b\n1,2\n',
            "out.csv",
            r"in\.csv: the first line cannot be read as names of columns: unexpected end of data",
        ),
        ("in.csv", b"carrier;origin\nUA;EWR\n", "out.csv", r"in\.csv has no column .*; it has carrier;origin$"),
        ("in.csv.gz", b"no gzip", "out.csv", r"in\.csv\.gz is not a whole gzip file: "),
        ("in.parquet", b"no parquet", "out.csv", r"in\.parquet cannot be read as Parquet: "),
        ("in.parquet", b"PAR1", "no/out.csv", r"in\.parquet cannot be read as Parquet: "),
    ],
)
def test_files_that_cannot_be_used_are_one_sentence(
    project: Path, input_file: str, content: bytes | None, target: str, problem: str
) -> None:
    if content is not None:
        Path(input_file).write_bytes(content)
    with pytest.raises(KibanError, match=f"^{problem}"):
        run(input_file, target)
    assert not Path(target).exists()


def test_an_output_that_cannot_be_written_is_one_sentence(flights: pa.Table) -> None:
    write(flights, "in.parquet")
    with pytest.raises(KibanError, match=r"^no/out\.csv cannot be written: there is no folder no$"):
        run("in.parquet", "no/out.csv")
    twice = flights.append_column("label", pa.array([1] * 2000)).append_column("predicted label", pa.array([2] * 2000))
    write(twice, "in.parquet")
    message = r"^in\.parquet has a column 'predicted label', which the output gets from the model"
    with pytest.raises(KibanError, match=message):
        run("in.parquet", "out.csv")


def test_a_column_of_the_same_name_is_kept_beside_the_models(flights: pa.Table) -> None:
    write(flights.append_column("label", pa.array([1] * 2000)), "in.parquet")
    run("in.parquet", "out.parquet")
    rows = pq.read_table("out.parquet")
    assert rows.column_names[-4:] == ["label", "predicted probability", "predicted label", "predicted model_id"]
    assert rows["label"].to_pylist() == [1] * 2000
    assert set(rows["predicted label"].to_pylist()) <= {True, False}


def test_a_full_disk_is_one_sentence_and_leaves_nothing(flights: pa.Table) -> None:
    """The output lies in a file system of 64 kB, in a mount namespace of the command's."""
    inside = ["unshare", *([] if os.getuid() == 0 else ["-r"]), "-m", "sh", "-c"]
    Path("small").mkdir()
    if subprocess.run([*inside, "mount -t tmpfs tmpfs small"], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system")
    write(flights, "in.parquet")
    command = (
        f"{sys.executable} -c 'from kiban.cli import main; main()' score in.parquet small/out.csv; echo $?; ls small"
    )
    done = subprocess.run(
        [*inside, f"mount -t tmpfs -o size=64k tmpfs small && {command}"], capture_output=True, text=True
    )
    assert done.stdout == "1\n"
    assert done.stderr.startswith("error: small/out.csv cannot be written: ")
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_store_has_the_whole_output_or_none(flights: pa.Table, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    spoiled(flights)
    client: Any = boto3.client("s3", region_name="us-east-1")
    client.upload_file("in.csv", "dvc", "asked/in.csv")
    with pytest.raises(KibanError, match=r"^s3://dvc/asked/in\.csv, row 3: origin"):
        run("s3://dvc/asked/in.csv", "s3://dvc/out.parquet")
    assert {each["Key"] for each in client.list_objects_v2(Bucket="dvc")["Contents"]} == {"asked/in.csv"}
    run("s3://dvc/asked/in.csv", "s3://dvc/scored/march/out.parquet", "--on-error", "skip")
    client.download_file("dvc", "scored/march/out.parquet", "here.parquet")
    run("in.csv", "local.parquet", "--on-error", "skip")
    assert pq.read_table("here.parquet").equals(pq.read_table("local.parquet"))
    client.download_file("dvc", "scored/march/out.parquet.rejected.csv", "here.rejected.csv")
    assert Path("here.rejected.csv").read_bytes() == Path("local.parquet.rejected.csv").read_bytes()
    with pytest.raises(KibanError, match=r"^s3://none/out\.csv cannot be written: Not Found; check the path"):
        run("in.csv", "s3://none/out.csv")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(KibanError, match=r"^s3://dvc/out\.csv cannot be written: .*; check the credentials"):
        run("in.csv", "s3://dvc/out.csv")
    store.kill()
    with pytest.raises(KibanError, match=r"^s3://dvc/asked/in\.csv cannot be read: "):
        run("s3://dvc/asked/in.csv", "out.csv")


def test_what_a_database_or_another_tool_writes_is_no_traceback(flights: pa.Table) -> None:
    minutes = pa.array([Decimal(10), Decimal(5000)] + [Decimal(30)] * 1998, pa.decimal128(10, 2))
    decimals = flights.set_column(flights.column_names.index("departure_minute"), "departure_minute", minutes)
    pq.write_table(decimals, "in.parquet", row_group_size=100)
    run("in.parquet", "out.parquet", "--on-error", "skip")
    assert pq.read_table("out.parquet")["departure_minute"].to_pylist() == [10] + [30] * 1998
    assert "departure_minute: 5000 is too large" in Path("out.parquet.rejected.csv").read_text()
    write(flights.append_column("parts", pa.array([[1]] * 2000)), "in.parquet")
    run("in.parquet", "out.parquet")
    with pytest.raises(
        KibanError, match=r"^in\.parquet: column 'parts' is of type list<.*>, which CSV cannot represent: use Parquet$"
    ):
        run("in.parquet", "out.csv")
    for kind, content in ((pa.uuid(), b"1234567890123456"), (pa.string_view(), "a")):
        write(flights.append_column("other", pa.array([content] * 2000, kind)), "in.parquet")
        with pytest.raises(
            KibanError, match=r"^in\.parquet: column 'other' is of type .*, which CSV cannot represent: use Parquet$"
        ):
            run("in.parquet", "out.csv")
    far = pa.array([2**62] * 2000, pa.timestamp("us"))
    pq.write_table(decimals.append_column("far", far), "in.parquet")
    with pytest.raises(KibanError, match=r"^in\.parquet, row 2: departure_minute: 5000 is too large"):
        run("in.parquet", "out.parquet")
    run("in.parquet", "out.parquet", "--on-error", "skip")
    latin = pa.array(["é".encode("latin-1")] * 2000, pa.binary())
    write(flights.append_column("latin", latin), "in.parquet")
    with pytest.raises(KibanError, match=r"^in\.parquet: a column cannot be written to out\.csv: .*UTF8"):
        run("in.parquet", "out.csv")
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    write(flights.slice(0, 1).append_column("note", broken), "in.parquet")
    with pytest.raises(KibanError, match=r"^in\.parquet cannot be read as Parquet: .*UTF"):
        run("in.parquet", "out.csv")


def test_a_file_of_rejected_rows_is_a_table_that_can_be_scored_again(flights: pa.Table) -> None:
    spoiled(flights)
    run("in.csv", "out.csv", "--on-error", "skip")
    run("out.csv.rejected.csv", "again.csv", "--on-error", "skip")
    with Path("again.csv.rejected.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {2 + len(flights.column_names)}
    assert len(rows) == 5  # the header, and none has become good
    assert read_table(Path("again.csv")).num_rows == 0


def test_another_models_folder_can_be_named(flights: pa.Table) -> None:
    write(flights, "in.parquet")
    Path("models/servable").rename("champion")
    assert "score: 2,000 rows" in run("in.parquet", "out.parquet", "--servable", "champion")
    with pytest.raises(KibanError, match="holds no servable"):
        run("in.parquet", "out.parquet")
