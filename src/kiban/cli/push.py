"""`kiban push`: `dvc push` with a time limit."""

import click

TIMEOUT = 120  # seconds


@click.command()
@click.option("-r", "--remote", metavar="NAME", help="A remote other than the default.")
@click.option("--timeout", default=TIMEOUT, show_default=True, metavar="SECONDS", help="Time limit of the push.")
def push(remote: str | None, timeout: int) -> None:
    """Send the data and models of this version to the DVC remote, and report what the store has not confirmed.

    The command may be repeated at any time: files that have arrived are not sent again.

    \b
    Examples:
      kiban push --timeout 600
    """
    from kiban.maintain import push

    pushed = push.push(remote, timeout)
    print(f"push: {pushed.files} files sent; the store has {', '.join(pushed.outputs)}")
