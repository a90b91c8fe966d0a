"""Settings come from the environment, where everything is text."""

from datetime import timedelta

import pytest

from infra import settings


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("0", timedelta(0)),
        ("86400", timedelta(days=1)),
        ("1.5", timedelta(seconds=1.5)),
        ("PT24H", timedelta(days=1)),
        ("P30D", timedelta(days=30)),
    ],
)
def test_a_length_of_time_is_seconds_or_iso_8601(told: str, meant: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEHU_REPORT_MISSED_FOR", told)
    assert settings.read(postgres="dbname=kehu", kafka="localhost:9092").report_missed_for == meant


@pytest.mark.parametrize("told", ["a while", "-1", "nan", "1e300"])
def test_any_other_is_refused_by_its_name(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEHU_REPORT_MISSED_FOR", told)
    with pytest.raises(settings.WrongSettings, match="KEHU_REPORT_MISSED_FOR"):
        settings.read(postgres="dbname=kehu", kafka="localhost:9092")
