"""What an overlay of conf/experiment, or a search of conf/tune, is for."""

from kiban.core.errors import KibanError
from kiban.core.settings import Settings
from kiban.data import contract
from kiban.tasks.task import Name, task_of


class AppliesTo(Settings):
    """What an overlay, or a search, is for: a dataset or a task. None stands for any."""

    dataset: str | None = None
    task: Name | None = None

    def check(self, dataset: str, where: str) -> None:
        """Raise KibanError, which starts with `where`, if it is not for `dataset`, or not for its task."""
        if self.dataset not in (None, dataset):
            raise KibanError(f"{where} is for the dataset {self.dataset}, not for {dataset}: choose another")
        if self.task is not None:
            table = contract.prepared_of(dataset)
            task = task_of(table.columns[table.target()])
            if task.name != self.task:
                raise KibanError(f"{where} is for the task {self.task}, not for {task.name}: choose another")
