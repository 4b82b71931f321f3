import pytest
from pydantic import ValidationError

from kiban.core.settings import explain
from kiban.sources.settings import Source


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("path", "s3://key:geheim@bucket/{batch}.csv", "path holds credentials, which belong in the environment"),
        ("url", "postgresql://user:ge/heim@host/db", "url holds credentials"),
        ("url", "postgresql://host/db?user=u&password=geheim", "url holds credentials"),
        ("endpoint_url", "http://host/?aws_secret_access_key=geheim", "endpoint_url holds credentials"),
        ("url_env", "postgresql://host/geheim", "url_env must be the name of an environment variable"),
    ],
)
def test_credentials_are_refused_and_not_shown(option: str, value: str, message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Source.model_validate({"_target_": "kiban.sources.Files", "options": {option: value}})
    assert message in explain(raised.value)
    assert "heim" not in explain(raised.value)


def test_what_is_no_secret_passes() -> None:
    query = "SELECT * FROM t WHERE key = 'a' AND t >= :start AND t < :end"
    options = {"path": "s3://bucket/{batch}.csv", "endpoint_url": "http://127.0.0.1:8333", "query": query}
    assert Source.model_validate({"_target_": "kiban.sources.Files", "options": options}).options == options
