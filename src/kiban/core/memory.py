"""How much memory a command may use."""

import os
import re
from pathlib import Path

from kiban.core.errors import KibanError

VARIABLE = "KIBAN_MEMORY"
UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""The limit of a container in bytes: control groups of version 2 and 1. It is `max`, or a huge number, without one."""


def available() -> int:
    """The bytes that KIBAN_MEMORY gives, such as 4GB; without it, those of this machine, or of its container.

    Raises KibanError if KIBAN_MEMORY is no size.
    """
    text = os.environ.get(VARIABLE)
    if text:
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB|TB)", text.strip().upper())
        if match is None or not float(match[1]):
            raise KibanError(f"the environment variable {VARIABLE} is {text!r}: give a size, such as 4GB")
        return int(float(match[1]) * UNITS[match[2]])
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (path.read_text().strip() for path in LIMITS if path.is_file())
    return min([machine, *(int(limit) for limit in limits if limit.isdigit())])
