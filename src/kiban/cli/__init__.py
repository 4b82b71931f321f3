"""The command `kiban`, with a file for each of its commands."""

import os

import click

from kiban.cli.add import add
from kiban.cli.check import check
from kiban.cli.clean import clean
from kiban.cli.compose import compose
from kiban.cli.cycle import cycle
from kiban.cli.data import data
from kiban.cli.doctor import doctor
from kiban.cli.erase import erase
from kiban.cli.experiments import experiments
from kiban.cli.features import features
from kiban.cli.fetch import fetch
from kiban.cli.gate import gate
from kiban.cli.hold import hold
from kiban.cli.ingest import ingest
from kiban.cli.init import init
from kiban.cli.lineage import lineage
from kiban.cli.merge import merge
from kiban.cli.monitor import monitor
from kiban.cli.places import enter_root
from kiban.cli.plots import plots
from kiban.cli.promote import promote
from kiban.cli.pull import pull
from kiban.cli.push import push
from kiban.cli.register import register
from kiban.cli.report import report
from kiban.cli.rollback import rollback
from kiban.cli.runner import runner
from kiban.cli.score import score
from kiban.cli.step import step
from kiban.cli.track import track
from kiban.cli.tune import tune
from kiban.cli.versions import versions
from kiban.core.errors import exit_on_error


@click.group()
@click.version_option(
    package_name="kiban", prog_name="kiban", message="%(prog)s %(version)s", help="Show the version and exit."
)
def commands() -> None:
    """The machine-learning platform for a team that has none. The pipeline itself is `dvc repro`.

    A command works in any folder of the repository. Paths that you give are relative to the folder that you are in.
    """
    enter_root()


commands.add_command(add)
commands.add_command(check)
commands.add_command(clean)
commands.add_command(compose)
commands.add_command(cycle)
commands.add_command(data)
commands.add_command(doctor)
commands.add_command(erase)
commands.add_command(experiments)
commands.add_command(features)
commands.add_command(fetch)
commands.add_command(gate)
commands.add_command(hold)
commands.add_command(ingest)
commands.add_command(init)
commands.add_command(lineage)
commands.add_command(merge)
commands.add_command(monitor)
commands.add_command(plots)
commands.add_command(promote)
commands.add_command(pull)
commands.add_command(push)
commands.add_command(register)
commands.add_command(report)
commands.add_command(rollback)
commands.add_command(runner)
commands.add_command(score)
commands.add_command(step)
commands.add_command(track)
commands.add_command(tune)
commands.add_command(versions)


def main() -> None:
    """Run a command. A KibanError is printed as one line and gives exit status 1."""
    # As in dvc.yaml. It is read when scikit-learn is loaded, which no command has done yet.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    exit_on_error(commands)
