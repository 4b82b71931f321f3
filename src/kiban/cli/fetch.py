"""`kiban fetch`: lays a version into a release folder."""

from datetime import UTC, datetime
from pathlib import Path

import click

from kiban.cli.places import Place


@click.command()
@click.argument("version")
@click.argument("folder", required=False, type=Place(file_okay=False, path_type=Path))
def fetch(version: str, folder: Path | None) -> None:
    """Lay VERSION into the release folder FOLDER, or `prod` into that of KIBAN_RELEASE too. A service that reads the
    folder answers with the model then.

    \b
    Examples:
      kiban fetch prod
      kiban fetch v1.2.0 old
    """
    from kiban.operate import promote, release
    from kiban.operate.registry import PROD

    if folder is None and version != PROD:
        raise click.UsageError("give a FOLDER: that of production takes `prod` alone (`kiban promote` changes it)")
    root = folder or release.root()
    with promote.alone():
        laid = promote.fetch(version, root, datetime.now(UTC))
    print(f"fetch: {root / 'current'} is {laid.name}")
