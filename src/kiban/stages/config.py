"""Stage config: params.yaml is valid, and composed from conf/ as it is now."""

from pathlib import Path

from kiban.conf import digest
from kiban.errors import KibanError, exit_on_error
from kiban.settings.base import read
from kiban.settings.params import Params

STAMP = Path("reports/config.stamp")


def main() -> None:
    params = read(Params)
    if params.conf_digest != digest(Path("conf")):
        raise KibanError("conf/ was edited after params.yaml was composed from it: run `kiban compose`")
    STAMP.parent.mkdir(exist_ok=True)
    # Constant, so that no later stage runs because this one did.
    STAMP.write_text("params.yaml is composed from conf/\n")


if __name__ == "__main__":
    exit_on_error(main)
