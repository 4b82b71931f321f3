"""The comment of a pull request, at servers that answer as each host documents it."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any

import pytest

TOKEN = "kiban-test-token"  # noqa: S105
HOSTS: dict[str, dict[str, str]] = {
    "GitHub": {"GITHUB_API_URL": "{url}", "GITHUB_REPOSITORY": "a/b", "NUMBER": "7", "GH_TOKEN": TOKEN},
    "GitLab": {
        "CI_API_V4_URL": "{url}",
        "CI_PROJECT_ID": "3",
        "CI_MERGE_REQUEST_IID": "7",
        "GITLAB_TOKEN": TOKEN,
    },
    "Bitbucket": {
        "BITBUCKET_API_URL": "{url}",
        "BITBUCKET_REPO_FULL_NAME": "a/b",
        "BITBUCKET_PR_ID": "7",
        "BITBUCKET_TOKEN": TOKEN,
    },
    "Azure": {
        "SYSTEM_COLLECTIONURI": "{url}/",
        "SYSTEM_TEAMPROJECTID": "p",
        "BUILD_REPOSITORY_ID": "r",
        "SYSTEM_PULLREQUEST_PULLREQUESTID": "7",
        "SYSTEM_ACCESSTOKEN": TOKEN,
    },
}
LISTS = {  # the path of the comments of pull request 7
    "GitHub": "/repos/a/b/issues/7/comments",
    "GitLab": "/projects/3/merge_requests/7/notes",
    "Bitbucket": "/repositories/a/b/pullrequests/7/comments",
    "Azure": "/p/_apis/git/repositories/r/pullRequests/7/threads",
}
ITEMS = {
    "GitHub": r"/repos/a/b/issues/comments/(\d+)",
    "GitLab": r"/projects/3/merge_requests/7/notes/(\d+)",
    "Bitbucket": r"/repositories/a/b/pullrequests/7/comments/(\d+)",
    "Azure": r"/p/_apis/git/repositories/r/pullRequests/7/threads/5/comments/(\d+)",
}
METHODS = {"GitHub": "PATCH", "GitLab": "PUT", "Bitbucket": "PUT", "Azure": "PATCH"}


class Server:
    """The comments of one pull request at one host, by their number, and what was asked."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.texts: dict[int, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.others: set[int] = set()  # that somebody else has written

    def listing(self, page: int) -> Any:
        comments = [self.as_json(number) for number in sorted(self.texts)]
        if self.host == "Azure":  # which has no pages
            return {"value": [{"id": 5, "comments": comments}]}
        comments = comments[(page - 1) * 100 : page * 100]
        return {"values": comments} if self.host == "Bitbucket" else comments

    def as_json(self, number: int) -> dict[str, Any]:
        text = self.texts[number]
        body = {"Bitbucket": {"content": {"raw": text}}, "Azure": {"content": text}}.get(self.host, {"body": text})
        return {"id": number, **body, "user": {"type": "User" if number in self.others else "Bot"}}

    def text_of(self, body: dict[str, Any]) -> str:
        if self.host == "Azure" and "comments" in body:
            (comment,) = body["comments"]
            return str(comment["content"])
        text = body.get("body", body.get("content"))
        return str(text["raw"] if isinstance(text, dict) else text)


@pytest.fixture(params=HOSTS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Server, dict[str, str]]]:
    state = Server(request.param)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            path, _, query = self.path.partition("?")
            state.asked.append((self.command, path))
            assert self.headers.get("Authorization") == f"Bearer {TOKEN}" or self.headers.get("PRIVATE-TOKEN") == TOKEN
            assert state.host != "Azure" or "api-version=7.1" in query
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            item = re.fullmatch(ITEMS[state.host], path)
            status, answer = 200, {}
            if self.command == "GET" and path == LISTS[state.host]:
                page = re.search(r"(?:^|&)page=(\d+)", query)
                answer = state.listing(int(page[1]) if page else 1)
            elif self.command == "POST" and path == LISTS[state.host]:
                state.texts[len(state.texts) + 1] = state.text_of(body)
            elif item and self.command == METHODS[state.host] and int(item[1]) not in state.others:
                state.texts[int(item[1])] = state.text_of(body)
            else:
                status = 403
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{running.server_port}"
    yield state, {name: value.format(url=url) for name, value in HOSTS[request.param].items()}
    running.shutdown()


def test_a_report_is_one_comment_that_is_updated(server: tuple[Server, dict[str, str]], comment: ModuleType) -> None:
    state, environment = server
    state.texts = {number: f"somebody's remark {number}" for number in range(1, 131)}
    host = comment.host(environment)
    assert comment.put(host, "## Model: better", "kiban ") == "written"
    assert state.texts[131].startswith("## Model: better\n")
    assert comment.put(host, "## Model: worse", "kiban ") == "updated"
    assert state.texts[131].startswith("## Model: worse\n")
    assert len(state.texts) == 131
    assert comment.put(host, "## Another model", "kiban models/other/") == "written"  # of a folder beside it
    assert comment.put(host, "## Model: unchanged", "kiban ") == "updated"
    assert state.texts[131].startswith("## Model: unchanged\n")


def test_a_comment_of_somebody_else_with_the_marker_is_left(
    server: tuple[Server, dict[str, str]], comment: ModuleType
) -> None:
    state, environment = server
    state.texts, state.others = {1: "mine\n\n[//]: # (kiban )\n"}, {1}
    assert comment.put(comment.host(environment), "ours", "kiban ") == "written"
    assert state.texts[1].startswith("mine")


def test_a_long_report_is_cut_and_says_so(server: tuple[Server, dict[str, str]], comment: ModuleType) -> None:
    state, environment = server
    host = comment.host(environment)
    comment.put(host, "x" * (host.longest + 1), "kiban ")
    assert len(state.texts[1]) <= host.longest
    assert "too long for a comment" in state.texts[1]
    assert comment.put(host, "short", "kiban ") == "updated"


def test_what_is_missing_or_refused_is_one_line_without_the_token(
    server: tuple[Server, dict[str, str]], comment: ModuleType
) -> None:
    _, environment = server
    for name in environment:
        if not name.endswith(("_URL", "COLLECTIONURI", "GITHUB_REPOSITORY", "FULL_NAME")):
            with pytest.raises(SystemExit, match=f"error: .*{name}.* is not set"):
                comment.host({**environment, name: ""})
    number = next(name for name, value in environment.items() if value == "7")
    with pytest.raises(SystemExit, match="is not the number of a pull request"):
        comment.host({**environment, number: "7/../8"})
    with pytest.raises(SystemExit, match="was refused with 403") as refused:
        comment.put(comment.host({**environment, number: "8"}), "text", "kiban ")
    assert TOKEN not in str(refused.value)
    token = next(name for name, value in environment.items() if value == TOKEN)
    with pytest.raises(SystemExit) as refused:  # no header may have a line break in it
        comment.put(comment.host({**environment, token: f"{TOKEN}\n2"}), "text", "kiban ")
    assert TOKEN not in str(refused.value)


def test_outside_of_a_ci_it_says_so(comment: ModuleType) -> None:
    with pytest.raises(SystemExit, match="this is the CI of none of"):
        comment.host({})
