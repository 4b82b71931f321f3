"""The versions as people read them: what each was, and when it was in production."""

from datetime import UTC, datetime

from pydantic import BaseModel

from kiban.operate import registry
from kiban.operate.registry import PROD, Registry, Tag
from kiban.review.revision import Revision
from kiban.servable.evaluation import Figures

SHOWN = 2
"""Metrics in a table."""


class Promoted(BaseModel):
    """A promotion or a rollback, with what the gate said."""

    tag: str
    at: datetime
    by: str
    kind: str
    reason: str
    gate: str | None


class Line(BaseModel):
    """A version, or a commit without one that was in production, and its promotions. `is_prod` says that it is now, or
    was at the time that is asked for."""

    version: str
    commit: str
    model_id: str
    through: str
    metrics: Figures
    promotions: list[Promoted]
    is_prod: bool

    def cells(self) -> list[str]:
        """The line as a row of a table."""
        figures = [f"{name} {value:.4f}" for name, value in self.metrics.items() if isinstance(value, float)][:SHOWN]
        promoted = [
            f"{each.at:%Y-%m-%d %H:%M} {each.kind} by {each.by}" + (f": {each.reason}" if each.reason else "")
            for each in self.promotions
        ]
        mark = " (prod)" if self.is_prod else ""
        return [self.version + mark, self.commit[:7], self.through, "\n".join(figures), "\n".join(promoted)]


def known_at(at: datetime | None) -> Registry:
    """The registry as it was at a time in UTC, or as it is. Raises KibanError as `registry.read`."""
    known = registry.read(Revision("HEAD").dataset)
    if at is None:
        return known
    return Registry(known.name, tuple(tag for tag in known.tags if tag.at <= at.replace(tzinfo=UTC)))


def lines(known: Registry, trained_on: str | None) -> list[Line]:
    """The versions, the newest first; only those that were made with a batch, if one is named."""
    commits = dict.fromkeys(tag.commit for tag in known.tags)
    chosen = [commit for commit in commits if trained_on is None or trained_on in _trained_on(known, commit)]
    return [_line(known, commit) for commit in reversed(chosen)]


def hold(known: Registry) -> str | None:
    """Since when, by whom and why nothing is promoted, or None."""
    tag = known.hold
    return f"since {tag.at:%Y-%m-%d %H:%M} by {tag.by}: {tag.record.reason if tag.record else ''}" if tag else None


def _line(known: Registry, commit: str) -> Line:
    tags = [tag for tag in known.tags if tag.commit == commit]
    record = next((tag.record for tag in tags if tag.record and not tag.stage), None)
    return Line(
        version=tags[0].title,
        commit=commit,
        model_id=record.model_id if record else "",
        through=record.through if record else "",
        metrics=record.metrics if record else {},
        promotions=[_promoted(tag) for tag in tags if tag.stage == PROD and not tag.ends],
        is_prod=known.prod is not None and known.prod.commit == commit,
    )


def _promoted(tag: Tag) -> Promoted:
    record = tag.record
    return Promoted(
        tag=tag.name,
        at=tag.at,
        by=tag.by,
        kind=record.kind if record else "promotion",
        reason=record.reason if record else "",
        gate=record.judged.state if record and record.judged else None,
    )


def _trained_on(known: Registry, commit: str) -> tuple[str, ...]:
    records = (tag.record for tag in known.tags if tag.commit == commit)
    return next((record.trained_on for record in records if record and record.trained_on), ())
