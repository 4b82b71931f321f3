"""`kiban runner`: the files with which a platform runs the stage graph."""

import click

from kiban.core import files
from kiban.core.errors import KibanError


@click.command()
@click.argument("name", required=False)
@click.option("--write", is_flag=True, help="Write the files in runners/, of every platform if there is no NAME.")
@click.option("--check", is_flag=True, help="Exit with status 1 if a file in runners/ is not what would be written.")
def runner(name: str | None, write: bool, check: bool) -> None:
    """Print what a platform needs to run the stages of the committed dvc.lock, such as Argo's workflows.

    What a team decides, such as the image, the schedule and the memory of a stage, is in runners/NAME.yaml. A platform
    whose NAME.yaml is removed is left out: its files are then the team's own.

    \b
    Examples:
      kiban runner argo
      kiban runner --write
    """
    from kiban.runners import platforms

    if name is not None and name not in platforms.PLATFORMS:
        raise click.UsageError(f"NAME is one of {', '.join(platforms.PLATFORMS)}")
    if name is None and not write and not check:
        raise click.UsageError("give a NAME, --write or --check")
    if write and check:
        raise click.UsageError("give --write or --check")
    graph = platforms.committed_graph()
    for each in [name] if name else platforms.names():
        contents = platforms.written(each, graph)
        if not contents and name:
            print(f"runners/{name}.yaml is read as it is, and it fits")
        if not write and not check:
            print("---\n".join(contents.values()), end="")
            continue
        for path, content in contents.items():
            is_same = path.is_file() and path.read_text() == content
            if check and not is_same:
                raise KibanError(f"{path} is not what runners/{each}.yaml and dvc.lock give: run `make runners`")
            if write:
                files.write(path, content.encode())
                print(f"runner: {path} {'unchanged' if is_same else 'written'}")
    if check:
        platforms.check_pipeline(graph)
