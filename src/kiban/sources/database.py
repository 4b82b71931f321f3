"""A database that an environment variable names, through SQLAlchemy, and its errors as KibanError without a secret."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from kiban.core.errors import KibanError, one_line

T = TypeVar("T")


class Database:
    """The database whose SQLAlchemy URL, with its credentials, is in the environment variable `url_env`."""

    def __init__(self, url_env: str) -> None:
        self.url_env = url_env

    @property
    def name(self) -> str:
        return f"SQL through {self.url_env}"

    @cached_property
    def url(self) -> sa.URL:
        """Raises KibanError if there is no URL, or if it is not one."""
        text = os.environ.get(self.url_env)
        if not text:
            raise KibanError(f"the environment variable {self.url_env} is not set: it holds the URL of the database")
        try:
            url = sa.make_url(text)
        except (ArgumentError, ValueError):  # the message is not shown: it may hold the password
            raise KibanError(f"the environment variable {self.url_env} is not a SQLAlchemy URL") from None
        if "@" in (url.host or ""):  # the rest of a password, which a message of the driver would show
            raise KibanError(f"the environment variable {self.url_env}: write @ in a password as %40")
        return url

    @cached_property
    def engine(self) -> sa.Engine:
        return sa.create_engine(self.url, poolclass=NullPool)

    def asked(self, ask: Callable[[], T]) -> T:
        """The result of `ask`, which asks the database. Raises KibanError, without the password, if that fails."""
        with self._explained():
            return ask()

    def streamed(self, ask: Callable[[], Iterator[T]]) -> Iterator[T]:
        """What the iterator of `ask` gives, which asks the database. Raises KibanError like `asked`."""
        with self._explained():
            yield from ask()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        os.environ.setdefault("PGCONNECT_TIMEOUT", "10")  # seconds; without it libpq waits for ever
        try:
            yield
        except KibanError:
            raise
        except ImportError as error:
            raise KibanError(f"{self.name}: {error}: install the extra of this database") from None
        except Exception as error:  # every driver has exceptions of its own
            reason = " ".join(str(getattr(error, "orig", None) or error).partition("DETAIL:")[0].split())  # quotes rows
            raise KibanError(f"{self.name} failed: {one_line(self._without_secrets(reason))}") from None

    def _without_secrets(self, reason: str) -> str:
        """A driver's message without URLs, whose form differs between drivers, and without the secrets of the URL."""
        reason = re.sub(r"\S*://\S*", "***", reason)
        parameters = [value for values in self.url.normalized_query.values() for value in values]
        for secret in filter(None, [str(self.url.password or ""), *parameters]):
            reason = reason.replace(secret, "***").replace(quote(secret, safe=""), "***")
        return reason
