import sys
from pathlib import Path

import pyarrow as pa
import pytest

import kiban.sources
from kiban.core import files
from kiban.core.errors import KibanError
from kiban.data import parquet
from kiban.data.batches import Period
from kiban.data.contract import Column, Table
from kiban.ingest.ledger import Entry
from kiban.ingest.take import take
from kiban.sources.kinds import KINDS, Opened, open_source
from kiban.sources.settings import Source

ZONE = "America/New_York"


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("kiban.sources.Nowhere", {}, "there is no source 'kiban.sources.Nowhere'"),
        (
            "kiban.sources.PackageCsv",
            {"package": "p", "file": "f", "fiel": 1},
            "option fiel: Unexpected",
        ),
        ("kiban.sources.PackageCsv", {"package": "p"}, "option file: Missing required argument"),
        ("kiban.sources.Files", {"path": "{batch}/{batch}.csv"}, "only one {batch} and"),
        ("kiban.sources.Files", {"path": "in/**/{batch}.csv"}, "within a name are allowed"),
        ("kiban.sources.Given", {"path": "x.csv"}, "option path: Unexpected"),
        ("kiban.sources.Files", {"path": 5}, "option path: Input should be a valid string"),
        ("kiban.sources.Sql", {"url_env": "U", "query": "select 1", "batches": "select 1"}, "needs :start and :end"),
        ("kiban.sources.Sql", {"url_env": "U", "query": "select :start, :end"}, "no parameter without"),
    ],
)
def test_settings_that_fit_no_source_are_refused(target: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(KibanError, match=message):
        open_source(Source.model_validate({"_target_": target, "options": options}))


def test_every_kind_can_be_named() -> None:
    options = {
        "PackageCsv": {"package": "p", "file": "f"},
        "Files": {"path": "incoming/{batch}.csv"},
        "Given": {},
        "Sql": {"url_env": "U", "query": "select 1"},
    }
    for kind in KINDS:
        settings = Source.model_validate({"_target_": f"kiban.sources.{kind}", "options": options[kind]})
        assert type(open_source(settings).source).__name__ == kind


@pytest.mark.parametrize(
    ("address", "extra"), [("gs://b/in-{batch}.csv", "gs"), ("az://b/in.csv", "azure"), ("sftp://h/in.csv", "ssh")]
)
def test_an_address_whose_package_is_not_installed_names_the_command(address: str, extra: str) -> None:
    source = open_source(Source.model_validate({"_target_": "kiban.sources.Files", "options": {"path": address}}))
    with pytest.raises(KibanError, match=f"cannot be opened yet: `make STORE={extra}` installs what does"):
        source.batches()


def test_a_teams_own_file_needs_no_edit_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = "    def __init__(self, *, table):\n        self.table = table\n    batches = read = describe = id\n"
    (tmp_path / "ours.py").write_text(f"class Ours:\n{methods}")
    monkeypatch.setattr(kiban.sources, "__path__", [*kiban.sources.__path__, str(tmp_path)])
    settings = {"_target_": "kiban.sources.ours.Ours", "options": {"table": "t"}}
    assert type(open_source(Source.model_validate(settings)).source).__name__ == "Ours"
    with pytest.raises(KibanError, match="kiban.sources.ours.Ours: .*unexpected keyword argument 'tabel'"):
        open_source(Source.model_validate({**settings, "options": {"tabel": "t"}}))
    for target in ("ours.Nobody", "nobody.Ours", "text.csv", "kinds.KINDS", "settings.Settings"):
        with pytest.raises(KibanError, match="there is no source"):
            open_source(Source.model_validate({"_target_": f"kiban.sources.{target}"}))
    sys.modules.pop("kiban.sources.ours")


class TwoRows:
    """A source in memory."""

    def batches(self) -> list[str]:
        return ["2013-01"]

    def read(self, batch: str, period: Period | None) -> pa.Table:
        return pa.table({"id": ["2", "1"]})

    def describe(self) -> str:
        return "memory"


def test_take_keeps_a_snapshot_only_if_it_is_the_recorded_one(tmp_path: Path) -> None:
    contract = Table(description="", key=["id"], columns={"id": Column(type="integer", description="")})
    path = tmp_path / "table/2013-01.parquet"
    entry = take(Opened(TwoRows(), []), contract, "2013-01", ZONE, path)
    assert (entry.rows, entry.bytes, entry.source) == (2, path.stat().st_size, "memory")
    assert entry.sha256 == files.sha256(path)
    assert parquet.read(path)["id"].to_pylist() == [1, 2]
    path.unlink()
    other = Entry(rows=3, bytes=1, sha256="0" * 64, source="memory", taken_at="")
    with pytest.raises(KibanError, match=r"other rows now \(2\) than the snapshot in the ledger \(3\)"):
        take(Opened(TwoRows(), []), contract, "2013-01", ZONE, path, expected=other)
    assert list(path.parent.iterdir()) == []
