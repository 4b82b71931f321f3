"""Packages that are not in requirements.lock: `make extra EXTRA=NAME` installs them."""

from importlib.util import find_spec

from kiban.core.errors import KibanError


def check(package: str, extra: str, where: str) -> None:
    """Raise KibanError, which starts with `where`, if a package of an extra is not installed."""
    if find_spec(package) is None:
        raise KibanError(f"{where}: {package} is not installed: `make extra EXTRA={extra}`")
