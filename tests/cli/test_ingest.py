from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import take_new, write_package

from kiban import ledger, parquet


def test_new_takes_only_what_is_beyond_the_ledger(
    with_source: Callable[..., None], slices: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    def until_february(lines: list[str], first: int) -> list[str]:
        return [lines[0], *(line for line in lines[1:] if line.split(",")[first + 1] in "12")]

    with_source(
        flights=until_february(slices["flights"], 0),
        weather=until_february(slices["weather"], 1),
        planes=slices["planes"],
    )
    take_new()
    before = ledger.read(ledger.ledger_path("flights"))
    capsys.readouterr()
    take_new()
    assert capsys.readouterr().out == "the source has nothing beyond the ledger\n"

    package = next(Path().resolve().parent.glob("other"))

    write_package(package, **slices)
    take_new()
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "flights 2013-03",
        "weather 2013-03",
    ]
    after = ledger.read(ledger.ledger_path("flights"))
    assert after["flights"].pop("2013-03").sha256 == parquet.sha256(ledger.raw_file("flights", "flights", "2013-03"))
    after["weather"].pop("2013-03")
    assert after == before
