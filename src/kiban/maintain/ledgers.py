"""Merging two ledgers by table and batch, against the ledger from which both began."""

from collections.abc import Iterable, Mapping
from typing import Literal

from kiban.ingest.ledger import Entry, Ledger

Side = Literal["ours", "theirs"]

DECISIONS = ("left_out", "accepted")
"""Fields of an entry that a person decides on: of one side's decision and another snapshot both count."""

INCIDENTAL = {"bytes", "md5", "source", "taken_at", *DECISIONS}
"""Fields of an entry that may differ though the snapshot is the same."""


def merged(base: Ledger, ours: Ledger, theirs: Ledger, chosen: Mapping[str, Side]) -> tuple[Ledger, list[str]]:
    """The ledger that has what each side changed since `base`, and the batches that both changed differently.

    A batch is named TABLE/BATCH. `chosen` names the side that counts for such a batch, by TABLE/BATCH or by BATCH.
    """
    ledger: Ledger = {}
    refused = []
    batches = {(table, batch) for side in (base, ours, theirs) for table, entries in side.items() for batch in entries}
    for table, batch in sorted(batches):
        before, mine, other = (side.get(table, {}).get(batch) for side in (base, ours, theirs))
        name = f"{table}/{batch}"
        if _is_same(mine, other):
            entry = other if mine is not None and mine.md5 is None else mine
        elif _is_same(mine, before):
            entry = other
        elif _is_same(other, before):
            entry = mine
        else:
            side = chosen.get(name) or chosen.get(batch)
            entry = other if side == "theirs" else mine
            if side is None:
                refused.append(name)
        if entry is not None:
            ledger.setdefault(table, {})[batch] = _decided(entry, before, mine, other)
    return ledger, refused


def _decided(entry: Entry, before: Entry | None, mine: Entry | None, other: Entry | None) -> Entry:
    """An entry with what either side has decided since `before`; this side, if both have."""
    if mine is None or other is None:
        return entry
    decisions = {}
    for name in DECISIONS:
        known, ours, theirs = (getattr(each, name, None) for each in (before, mine, other))
        decisions[name] = theirs if ours == known else ours
    return entry.model_copy(update=decisions)


def sides(batches: Iterable[str], decided: Ledger, theirs: Ledger) -> dict[str, Side]:
    """The side of each batch, named TABLE/BATCH, that a ledger took which was decided on before."""
    chosen: dict[str, Side] = {}
    for name in batches:
        table, _, batch = name.partition("/")
        entries = (side.get(table, {}).get(batch) for side in (decided, theirs))
        chosen[name] = "theirs" if _is_same(*entries) else "ours"
    return chosen


def _is_same(one: Entry | None, other: Entry | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.model_dump(exclude=INCIDENTAL) == other.model_dump(exclude=INCIDENTAL)
