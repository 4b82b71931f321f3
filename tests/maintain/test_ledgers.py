"""Two ledgers become one, by table and batch, against the ledger from which both began."""

import pytest

from kiban.core.errors import KibanError
from kiban.ingest.ledger import Entry, Ledger, parse_ledger
from kiban.maintain.ledgers import merged, sides


def entry(digest: str, md5: str | None = "m") -> Entry:
    return Entry(rows=1, bytes=1, sha256=digest, md5=md5, source="s", taken_at=f"{digest}-{md5}")


BASE = {"flights": {"a": entry("1"), "b": entry("1")}}


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        ({"a": "1", "b": "1"}, {"a": "1", "b": "1"}, {"a": "1", "b": "1"}),
        ({"a": "2", "b": "1"}, {"a": "1", "b": "3"}, {"a": "2", "b": "3"}),  # a change of either
        ({"b": "1"}, {"a": "1", "b": "1", "c": "1"}, {"b": "1", "c": "1"}),  # a removal, and a new batch
        ({"a": "2", "b": "1"}, {"a": "2", "b": "1"}, {"a": "2", "b": "1"}),  # the same change of both
        ({"b": "1"}, {"b": "1"}, {"b": "1"}),
    ],
)
def test_what_either_side_changed_counts(ours: dict[str, str], theirs: dict[str, str], both: dict[str, str]) -> None:
    def side(digests: dict[str, str]) -> Ledger:
        return {"flights": {batch: entry(digest) for batch, digest in digests.items()}}

    assert merged(BASE, side(ours), side(theirs), {}) == (side(both), [])
    assert merged(BASE, side(theirs), side(ours), {}) == (side(both), [])


@pytest.mark.parametrize("theirs", [{"a": entry("3"), "b": entry("1")}, {"b": entry("1")}])
def test_a_batch_that_both_changed_needs_a_choice(theirs: dict[str, Entry]) -> None:
    ours = {"flights": {"a": entry("2"), "b": entry("1")}}
    assert merged(BASE, ours, {"flights": theirs}, {})[1] == ["flights/a"]
    for name in ("a", "flights/a"):
        assert merged(BASE, ours, {"flights": theirs}, {name: "ours"}) == (ours, [])
        both, refused = merged(BASE, ours, {"flights": theirs}, {name: "theirs"})
        assert (both, refused) == ({"flights": theirs}, [])
        assert sides(["flights/a"], both, {"flights": theirs}) == {"flights/a": "theirs"}
        assert sides(["flights/a"], ours, {"flights": theirs}) == {"flights/a": "ours"}


def test_a_batch_in_two_tables_is_chosen_for_each_or_for_both() -> None:
    base, ours, theirs = ({table: {"a": entry(digest)} for table in ("one", "two")} for digest in "123")
    assert merged(base, ours, theirs, {"one/a": "ours"})[1] == ["two/a"]
    assert merged(base, ours, theirs, {"one/a": "ours", "two/a": "theirs"})[0] == {**ours, "two": theirs["two"]}
    assert merged(base, ours, theirs, {"a": "theirs"}) == (theirs, [])


def test_of_one_snapshot_the_entry_with_its_md5_is_kept() -> None:
    bare, named = {"one": {"a": entry("2", None)}}, {"one": {"a": entry("2", "m")}}
    assert merged({}, bare, named, {})[0] == merged({}, named, bare, {})[0] == named


@pytest.mark.parametrize("name", ["../..", "a/b", ".", ""])
def test_a_name_that_leads_elsewhere_is_no_name(name: str) -> None:
    line = "{rows: 1, sha256: s, source: s, taken_at: t}"
    with pytest.raises(KibanError, match=r"data/x\.batches\.yaml"):
        parse_ledger(f"flights: {{'{name}': {line}}}".encode(), "data/x.batches.yaml")
    with pytest.raises(KibanError, match=r"data/x\.batches\.yaml"):
        parse_ledger(f"'{name}': {{a: {line}}}".encode(), "data/x.batches.yaml")


def test_a_batch_left_out_by_one_side_stays_so_whatever_the_other_took() -> None:
    def ledger(sha256: str, **decided: str) -> Ledger:
        entry = Entry(rows=1, sha256=sha256, source="a file", taken_at="2013-02-01T00:00:00+00:00", **decided)
        return {"flights": {"2013-01": entry}}

    base = ledger("1")
    left_out, corrected = ledger("1", left_out="a strike"), ledger("2")
    for pair in ((left_out, corrected), (corrected, left_out)):
        both, refused = merged(base, *pair, {})
        entry = both["flights"]["2013-01"]
        assert (entry.sha256, entry.left_out, refused) == ("2", "a strike", [])
    ended, refused = merged(left_out, ledger("1"), ledger("1", left_out="a strike", accepted="it is right"), {})
    entry = ended["flights"]["2013-01"]
    assert (entry.left_out, entry.accepted, refused) == (None, "it is right", [])
