import pytest

from kiban.track.delivery import shown, store


@pytest.mark.parametrize(
    ("address", "harmless"),
    [
        ("http://u:secret@h:5000/x", "http://h:5000/x"),
        ("postgresql://u:pa/ss@h/db", "postgresql://h/db"),
        ("http://u:p@ss@h", "http://h"),
        ("postgresql://h/db?user=u&password=secret", "postgresql://h/db"),
        ("failed at http://u:p@h/a?b=c, and http://u:p@h", "failed at http://h/a http://h"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
    ],
)
def test_an_address_is_shown_without_what_is_secret_in_it(address: str, harmless: str) -> None:
    assert shown(address).replace(" and", "") == harmless


def test_the_store_is_the_environments_or_the_repositorys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store() == "sqlite:///mlruns/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h")
    assert store() == "http://h"
