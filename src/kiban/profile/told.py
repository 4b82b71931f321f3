"""What `kiban init` tells: a line for each column, and the decisions about the whole table."""

from kiban.data.contract import ROW_HASH
from kiban.profile.batches import in_words
from kiban.profile.run import Plan

MOST_COLUMNS = 40  # listed; of the others only those about which there is something to know


def columns(plan: Plan) -> list[list[str]]:
    """For each column its name, type, role, and what a person should know about it."""
    listed = []
    names = [name for name in plan.table.columns if name != ROW_HASH or plan.table.key != [ROW_HASH]]
    for place, name in enumerate(names):
        column, use = plan.table.columns[name], plan.uses.get(name)
        notes = [*([use.reason or use.note] if use else []), *plan.notes.get(name, [])]
        text = "; ".join(note for note in notes if note)
        role = "left out" if use and use.reason else _role(plan, name)
        if place < MOST_COLUMNS or text:
            listed.append([name, column.type, role, text])
    if len(names) > len(listed):
        listed.append([f"and {len(names) - len(listed)} more", "", "feature", ""])
    return listed


def _role(plan: Plan, name: str) -> str:
    table = plan.table
    roles: dict[str | None, str] = {table.target(): "target", table.time: "time", **dict.fromkeys(table.key, "key")}
    return roles.get(name) or ("feature" if table.columns[name].role == "feature" else "info")


def facts(plan: Plan) -> list[list[str]]:
    """The decisions about the table, each with a name."""
    rows, skill = sum(part.num_rows for part in plan.rows.values()), plan.choice.skill
    figures = ", ".join(f"{name} {value:.3f}" for name, value in skill.items())
    name = {"trees": "boosted trees", "linear": "a linear model", "forest": "a forest"}[plan.choice.name]
    lines = [
        ["rows", f"{rows:,} in {len(plan.rows)} batch{'es' * (len(plan.rows) > 1)}"],
        ["task", f"{plan.target.task}: {plan.target.reason}"],
        ["split", in_words(plan.split)],
        ["model", f"{name}; skill on folds of {plan.choice.rows:,} rows: {figures}"],
        *(["note", note] for note in plan.notes.get("", [])),
    ]
    if skill[plan.choice.name] <= 0:
        lines.append(["note", "no model is better than the baseline: do these columns tell of the target?"])
    return lines
