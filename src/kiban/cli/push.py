"""`kiban push`: `dvc push` that ends, whatever the store does."""

import click

TIMEOUT = 120  # seconds


@click.command()
@click.option("-r", "--remote", metavar="NAME", help="A remote other than the default one.")
@click.option("--timeout", default=TIMEOUT, show_default=True, metavar="SECONDS", help="The longest that it may take.")
def push(remote: str | None, timeout: int) -> None:
    """Send the data and models of this version to the DVC remote, and say what the store has not confirmed.

    It may be repeated at any time: what has arrived is not sent again.

    \b
    Examples:
      kiban push --timeout 600
    """
    from kiban.maintain import push

    pushed = push.push(remote, timeout)
    print(f"push: {pushed.files} files sent; the store has {', '.join(pushed.outputs)}")
