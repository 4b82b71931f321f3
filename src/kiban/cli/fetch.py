"""`kiban fetch`: lays a version into a release folder."""

from datetime import UTC, datetime
from pathlib import Path

import click


@click.command()
@click.argument("version")
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
def fetch(version: str, folder: Path | None) -> None:
    """Lay VERSION, or `prod`, into a release folder: FOLDER, or that of KIBAN_RELEASE. A service that reads it answers
    with the model then.

    \b
    Examples:
      kiban fetch prod
      kiban fetch v1.2.0 old
    """
    from kiban.operate import promote, release

    root = folder or release.root()
    with promote.alone():
        laid = promote.fetch(version, root, datetime.now(UTC))
    print(f"fetch: {root / 'current'} is {laid.name}")
