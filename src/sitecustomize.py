"""What Python imports by itself at start-up where src/ is in PYTHONPATH, without an environment of the project.

In an environment kiban_no_reports.pth does it: the Python of Debian and Ubuntu has a sitecustomize of its own, which
comes before this one.
"""

import no_reports  # noqa: F401
