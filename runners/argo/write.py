"""Write the tasks of workflows.yaml from the stages of dvc.lock. `make runners` calls it."""

import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from stages import stages, task

FILE = Path(__file__).with_name("workflows.yaml")
HEADING = "        tasks: # written by `make runners`\n"


def tasks() -> str:
    """The lines of the tasks: each stage with those directly before it, then the publication of what they made."""
    before = stages()
    last = [stage for stage in before if not any(stage in others for others in before.values())]
    lines = [_line(task(stage), stage, before[stage]) for stage in before]
    return "".join([*lines, _line("publish", "--publish", last)])


def _line(name: str, stage: str, before: list[str]) -> str:
    depends = f", depends: {' && '.join(task(each) for each in before)}" if before else ""
    arguments = f'{{parameters: [{{name: stage, value: "{stage}"}}]}}'
    return f"          - {{name: {name}, template: step{depends}, arguments: {arguments}}}\n"


def written(content: str) -> str:
    """The content of workflows.yaml with the tasks of these stages."""
    pattern = re.escape(HEADING) + r"(?: {10}- .*\n)*"
    return re.sub(pattern, lambda _: HEADING + tasks(), content)


if __name__ == "__main__":
    FILE.write_text(written(FILE.read_text()))
