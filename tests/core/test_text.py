import subprocess
import sys

import pytest

from kiban.core.text import message, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("EWR", "EWR"),
        ("Zürich °F 基盤", "Zürich °F 基盤"),
        ("a\x1b[31mb\x07", "a\\x1b[31mb\\x07"),
        ("line\nline\r", "line\\nline\\r"),
        ("\u202egnp", "\\u202egnp"),
        ("\ud800", "\\ud800"),
        (None, "None"),
        ("x" * 1_000_000, "x" * 200 + "… (1,000,000 characters)"),
    ],
)
def test_nothing_in_a_text_is_obeyed_by_a_terminal(text: object, shown: str) -> None:
    assert plain(text) == shown


def test_an_error_of_a_stage_is_made_fit_to_be_shown() -> None:
    code = (
        "from kiban.core.errors import *\ndef main(): raise KibanError('a\\x1b[2Jb' + 'x' * 10**6)\nexit_on_error(main)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: a\\x1b[2Jbxxx")
    assert len(done.stderr) < 2100
    assert message("one\ntwo") == "one\ntwo"
