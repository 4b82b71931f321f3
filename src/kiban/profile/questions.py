"""What a table leaves open: the questions that a person answers by an option, all at once."""

from kiban.core.errors import KibanError


class AmbiguousError(KibanError):
    """Values can be read in two ways. The message names every column, and the options that decide; the exit status is
    2."""

    def __init__(self, questions: list[str]) -> None:
        super().__init__("; ".join(questions))
