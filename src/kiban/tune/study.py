"""The trials of a search, where all that search find them: a journal of one machine, or a database of many."""

import contextlib
import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import JournalStorage, RDBStorage, fail_stale_trials
from optuna.storages._rdb.models import TrialHeartbeatModel
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from kiban.core.errors import KibanError, one_line
from kiban.tasks.own import every_metric
from kiban.tune.trials import Trial

STORAGE = "KIBAN_TUNE_STORAGE"
"""The environment variable with the address of a database, by which machines share a search."""
BEAT, GRACE = 15, 60
"""Seconds between two signs of life of a trial, and those without one after which another machine takes it over."""
SCORES, ERROR, RETRY_OF, WRITTEN = "scores", "error", "retry_of", "written"
"""Attributes: of a trial that has ended, of one that takes the place of another, and of a study with results."""
SCHEMA = "schema"

optuna.logging.set_verbosity(optuna.logging.ERROR)


class ByNumber(optuna.samplers.BaseSampler):
    """Proposes by TPE, with other random numbers for each trial: those of a number are the same on every machine."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def _of(self, trial: FrozenTrial) -> optuna.samplers.TPESampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # constant_liar: what others try now counts as tried.
            return optuna.samplers.TPESampler(seed=self.seed + trial.number, multivariate=True, constant_liar=True)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Any:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> Any:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)


class Study:
    """The trials of one search.

    `alone` keeps all other machines from asking for a trial meanwhile. In a `database` others have open trials too, and
    one without a sign of life is tried again.
    """

    def __init__(
        self,
        study: optuna.Study,
        alone: Callable[[], AbstractContextManager[None]] = nullcontext,
        database: RDBStorage | None = None,
    ) -> None:
        self.study, self.alone, self.database = study, alone, database
        self.open: dict[int, optuna.Trial] = {}
        self._ended = threading.Event()

    def ended(self) -> list[Trial]:
        """The trials that have ended with scores or with an error, in their order."""
        return [
            Trial(trial.number, trial.params, attributes.get(SCORES, []), trial.value, attributes.get(ERROR))
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
            if _has_ended(trial) and (attributes := trial.user_attrs) is not None
        ]

    def ask(self, target: int) -> optuna.Trial | None:
        """A new trial, or None if `target` trials have ended or are open, here and elsewhere."""
        with self.alone():
            if self.database is not None:
                self._take_over(self.database)
            trials = self.study.get_trials(deepcopy=False)
            if sum(_has_ended(trial) or trial.state == TrialState.RUNNING for trial in trials) >= target:
                return None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that who asks has to beat
                trial = self.study.ask()
            self._beat(trial)
        self.open[trial.number] = trial
        return trial

    def tell(self, number: int, outcome: list[float] | str) -> None:
        """End an open trial with the scores of its folds, or with an error."""
        trial = self.open.pop(number)
        try:
            if isinstance(outcome, str):
                trial.set_user_attr(ERROR, outcome)
                self.study.tell(trial, state=TrialState.FAIL)
            else:
                trial.set_user_attr(SCORES, outcome)
                self.study.tell(trial, fmean(outcome))
        except (ValueError, UpdateFinishedTrialError):
            print(f"tune: trial {number} gave no sign of life for too long: another one has taken its place")

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Give signs of life of the open trials meanwhile."""
        thread = threading.Thread(target=self._keep_beating, daemon=True)
        if self.database is not None:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            if self.database is not None:
                thread.join()

    def _keep_beating(self) -> None:
        while not self._ended.wait(BEAT):
            for trial in list(self.open.values()):
                with contextlib.suppress(sa.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError):
                    self._beat(trial)

    def _beat(self, trial: optuna.Trial) -> None:
        if self.database is not None:
            self.database.record_heartbeat(trial._trial_id)

    def _take_over(self, database: RDBStorage) -> None:
        """Close the trials of machines that are gone, and queue what they tried, once for each."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self.study)
        with database.engine.connect() as connection:
            beaten = set(connection.execute(sa.select(TrialHeartbeatModel.trial_id)).scalars())
        trials = self.study.get_trials(deepcopy=False)
        for trial in trials:
            # Nobody else asks meanwhile, and who asks beats: the machine was killed between the two.
            if trial.state == TrialState.RUNNING and trial._trial_id not in beaten:
                self.study.tell(trial.number, state=TrialState.FAIL)
        taken_over = {trial.user_attrs.get(RETRY_OF) for trial in trials}
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
            if ERROR not in trial.user_attrs and trial.number not in taken_over:
                self.study.enqueue_trial(_proposed(trial), user_attrs={RETRY_OF: trial.number})


def journal(path: Path, seed: int, metric: str, first: Mapping[str, Any]) -> Study:
    """The study of a metric in a journal, or a new one whose first trial has the values `first`.

    Trials that a kill interrupted are closed, and their parameters are tried again. Only one process may open it.
    """
    # A process that was killed while it wrote leaves Optuna's lock, for which Optuna would wait for ever.
    Path(f"{path}.lock").unlink(missing_ok=True)
    if path.exists():
        content = path.read_bytes()
        length = content.rfind(b"\n") + 1  # an incomplete line would corrupt the next one, and so the journal
        if length < len(content):
            os.truncate(path, length)
    study = _study(JournalStorage(JournalFileBackend(str(path))), path.stem, seed, metric, first)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if SCORES in trial.user_attrs:
            study.tell(trial.number, fmean(trial.user_attrs[SCORES]))
            continue
        study.tell(trial.number, state=TrialState.FAIL)
        if ERROR not in trial.user_attrs:
            study.enqueue_trial(_proposed(trial))
    return Study(study)


@contextmanager
def shared(address: str, name: str, seed: int, metric: str, first: Mapping[str, Any]) -> Iterator[Study]:
    """The study of that name in a PostgreSQL database, which other machines search too; a new one has `first`.

    Raises KibanError, which does not tell the address, if the database cannot be reached, now or later.
    """
    try:
        url = sa.make_url(address)
    except sa.exc.ArgumentError:
        url = None
    if url is None or url.get_backend_name() != "postgresql":
        raise KibanError(f"{STORAGE}: give the address of a PostgreSQL database, postgresql://USER:PASSWORD@HOST/NAME")
    url = url.set(drivername="postgresql+psycopg")
    locks = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    try:
        with _alone(locks, SCHEMA):  # Optuna makes its tables; of several at once all but one would fail
            storage = RDBStorage(url.render_as_string(hide_password=False), heartbeat_interval=BEAT, grace_period=GRACE)
        with _alone(locks, name):
            study = _study(storage, name, seed, metric, first)
        yield Study(study, lambda: _alone(locks, name), storage)
    except (sa.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ or error
        said = one_line(str(getattr(cause, "orig", None) or cause)).replace(url.password or "\0", "…")
        raise KibanError(f"{STORAGE}: the database cannot be reached: {said}; the same command goes on") from None
    finally:
        locks.dispose()


@contextmanager
def writing(study: Study, took_part: bool) -> Iterator[bool]:
    """Whether the results are to be written here: by one of the machines that took part, or by who asks later."""
    if study.database is None:
        yield True
        return
    with study.alone():
        count = len(study.ended())
        mine = not took_part or study.study.user_attrs.get(WRITTEN) != count
        yield mine
        if mine:
            study.study.set_user_attr(WRITTEN, count)


def _study(
    storage: optuna.storages.BaseStorage, name: str, seed: int, metric: str, first: Mapping[str, Any]
) -> optuna.Study:
    directions = optuna.study.StudyDirection
    direction = directions.MAXIMIZE if every_metric()[metric].greater_is_better else directions.MINIMIZE
    study = optuna.create_study(
        storage=storage, direction=direction, study_name=name, load_if_exists=True, sampler=ByNumber(seed)
    )
    if first and not study.get_trials(deepcopy=False):
        study.enqueue_trial(dict(first))
    return study


def _has_ended(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE or (trial.state == TrialState.FAIL and ERROR in trial.user_attrs)


def _proposed(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters of a trial, and those that it was to have."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}


@contextmanager
def _alone(engine: sa.Engine, name: str) -> Iterator[None]:
    """Hold the lock of that name, which the database gives to one at a time, and takes back from who is gone."""
    key = int.from_bytes(hashlib.sha256(f"kiban tune {name}".encode()).digest()[:8], signed=True)
    with engine.connect() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(key)))
        yield  # closing the connection gives the lock back
