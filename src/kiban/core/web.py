"""Asking an address that a person has named in the environment, such as that of a heartbeat."""

import urllib.request


def ask(address: str, content: bytes | None = None, seconds: float = 30) -> str | None:
    """Ask an address of http or https, with JSON by POST if there is some; why that failed, or None.

    The answer does not repeat the address, which may hold a secret.
    """
    if not address.startswith(("http://", "https://")):
        return "it is no address of http or https"
    headers = {} if content is None else {"content-type": "application/json"}
    try:
        request = urllib.request.Request(address, content, headers)  # noqa: S310  the scheme was checked
        urllib.request.urlopen(request, timeout=seconds).close()  # noqa: S310
    except (OSError, ValueError) as error:
        return type(error).__name__
    return None
