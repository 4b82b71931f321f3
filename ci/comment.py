"""Puts a report under the pull request that a CI job runs for, in the place of the one that is there: `make comment`.

It knows the host by the variables that the host's own CI sets. It needs nothing but Python, so that the one job that
may write installs nothing.
"""

import contextlib
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

TIMEOUT = 30  # seconds of a request
MOST_PAGES = 20  # of comments that are looked through


class Host(NamedTuple):
    """How to speak to a host about the pull request: headers, the address of its comments, and its ways of naming.

    `text` is the path, in a comment as the host lists it, of its text; `update` the method and `longest` the number of
    characters that a comment may have.
    """

    headers: Mapping[str, str]
    comments: str
    text: tuple[str, ...]
    update: str
    longest: int


def host(environment: Mapping[str, str]) -> Host:
    """The host whose CI set these variables. Raises SystemExit, which names what is missing."""
    if "GITHUB_REPOSITORY" in environment:
        token, repository, number = _all(environment, "GH_TOKEN", "GITHUB_REPOSITORY", "NUMBER")
        api = environment.get("GITHUB_API_URL", "https://api.github.com")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
        return Host(headers, f"{api}/repos/{repository}/issues/{_number(number)}/comments", ("body",), "PATCH", 65_536)
    if "CI_API_V4_URL" in environment:
        token, api, project, number = _all(
            environment, "GITLAB_TOKEN", "CI_API_V4_URL", "CI_PROJECT_ID", "CI_MERGE_REQUEST_IID"
        )
        address = f"{api}/projects/{project}/merge_requests/{_number(number)}/notes"
        return Host({"PRIVATE-TOKEN": token}, address, ("body",), "PUT", 1_000_000)
    if "BITBUCKET_REPO_FULL_NAME" in environment:
        token, name, number = _all(environment, "BITBUCKET_TOKEN", "BITBUCKET_REPO_FULL_NAME", "BITBUCKET_PR_ID")
        api = environment.get("BITBUCKET_API_URL", "https://api.bitbucket.org/2.0")
        address = f"{api}/repositories/{name}/pullrequests/{_number(number)}/comments"
        return Host({"Authorization": f"Bearer {token}"}, address, ("content", "raw"), "PUT", 32_768)
    if "SYSTEM_COLLECTIONURI" in environment:
        token, server, project, repository, number = _all(
            environment,
            "SYSTEM_ACCESSTOKEN",
            "SYSTEM_COLLECTIONURI",
            "SYSTEM_TEAMPROJECTID",
            "BUILD_REPOSITORY_ID",
            "SYSTEM_PULLREQUEST_PULLREQUESTID",
        )
        pull_request = f"{server}{project}/_apis/git/repositories/{repository}/pullRequests/{_number(number)}"
        return Host({"Authorization": f"Bearer {token}"}, f"{pull_request}/threads", ("content",), "PATCH", 150_000)
    raise SystemExit("error: this is the CI of none of GitHub, GitLab, Bitbucket and Azure DevOps: paste the report")


def put(host: Host, text: str, marker: str) -> str:
    """Put `text` under the pull request, in the place of the last comment that has the marker; return what was done.

    Raises SystemExit if the host refuses.
    """
    # A definition of a link that nothing names: no host shows it.
    hidden = f"\n\n[//]: # ({marker})\n"
    if len(text) + len(hidden) > host.longest:
        note = "\n\n… and more, which is too long for a comment: see the job's files."
        text = text[: host.longest - len(hidden) - len(note)] + note
    text += hidden
    is_azure = host.comments.endswith("/threads")
    ours = [comment for comment in _comments(host, is_azure) if hidden.strip() in (_at(comment, host.text) or "")]
    if ours:
        with contextlib.suppress(SystemExit):  # somebody else may have written it, with our marker in it
            _request(host, host.update, ours[-1]["address"], _body(host, text))
            return "updated"
    comment = {"parentCommentId": 0, "content": text, "commentType": 1}
    body = {"comments": [comment], "status": "closed"} if is_azure else _body(host, text)
    _request(host, "POST", host.comments, body)
    return "written"


def _comments(host: Host, is_azure: bool) -> Iterator[dict[str, Any]]:
    """The comments of the pull request, oldest first, each with the `address` at which it is updated."""
    if is_azure:
        for thread in _request(host, "GET", host.comments).get("value", []):
            for comment in thread.get("comments", []):
                yield {**comment, "address": f"{host.comments}/{thread['id']}/comments/{comment['id']}"}
        return
    is_github = "/issues/" in host.comments
    base = host.comments.partition("/issues/")[0] + "/issues/comments" if is_github else host.comments
    found = []
    for page in range(1, MOST_PAGES + 1):
        content = _request(host, "GET", f"{host.comments}?per_page=100&pagelen=100&page={page}")
        values = content if isinstance(content, list) else content.get("values", [])
        found += [
            {**comment, "address": f"{base}/{comment['id']}"}
            for comment in values
            if not is_github or comment["user"]["type"] == "Bot"  # a token of GitHub's may edit everybody's
        ]
        if len(values) < 100:
            break
    yield from sorted(found, key=lambda comment: int(comment["id"]))


def _body(host: Host, text: str) -> dict[str, Any]:
    body: Any = text
    for name in reversed(host.text):
        body = {name: body}
    return dict(body)


def _at(value: Any, path: tuple[str, ...]) -> str | None:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def _request(host: Host, method: str, address: str, body: Mapping[str, Any] | None = None) -> Any:
    """The JSON of an answer. Raises SystemExit, which does not show the token, if there is none."""
    if "/_apis/" in address:
        address += "?api-version=7.1"
    data = json.dumps(body).encode() if body is not None else None
    headers = {**host.headers, "Content-Type": "application/json", "User-Agent": "kiban"}
    request = urllib.request.Request(address, data, headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        raise SystemExit(f"error: {method} {address} was refused with {error.code}: may the token comment?") from None
    except OSError as error:
        raise SystemExit(f"error: {method} {address} failed: {error}") from None
    except ValueError as error:  # its text may quote a header, and so the token
        raise SystemExit(f"error: {method} {address} failed: {type(error).__name__}") from None


def _all(environment: Mapping[str, str], *names: str) -> list[str]:
    if missing := [name for name in names if not environment.get(name)]:
        raise SystemExit(f"error: {', '.join(missing)} is not set: there is no pull request, or no token")
    return [environment[name] for name in names]


def _number(text: str) -> int:
    if not text.isdecimal():
        raise SystemExit(f"error: {text!r} is not the number of a pull request")
    return int(text)


def main() -> None:
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    environment = {name: value.strip() for name, value in os.environ.items()}
    print(f"comment: {put(host(environment), text, f'kiban {sys.argv[2]}')}")


if __name__ == "__main__":
    main()
