"""The commands for webhooks, as an operator uses them."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from infra.embedded.postgres import EmbeddedPostgres
from infra.webhooks.signing import key_of
from tests.support.cli import Done, History, kehu

URL = "https://crm.example/kehu"


@pytest.fixture(scope="module")
def history(history: History, postgres_server: EmbeddedPostgres) -> History:
    """A copy: what is done to a webhook is told in the log."""
    return replace(history, postgres=postgres_server.create_database("history_webhooks", template="history"))


@pytest.fixture
def added(history: History) -> Iterator[str]:
    done = history("webhooks", "add", "crm", "--url", URL, "--view", "retention-risk", "--segment", "mass", "--json")
    assert done.code == 0, done.err
    yield json.loads(done.out)["secret"]
    history("webhooks", "remove", "crm")


def row(history: History) -> dict[str, object]:
    (found,) = history("webhooks", "list", "--json").rows
    return dict(found)


def test_an_added_webhook_is_listed_without_its_secret(history: History, added: str) -> None:
    assert len(key_of(added)) == 32
    done = history("webhooks", "list", "--csv")
    assert added not in done.out
    (found,) = csv.DictReader(done.out.splitlines())
    assert (found["name"], found["url"], found["state"], found["segments"]) == ("crm", URL, "active", '["mass"]')
    table = history("webhooks", "list").out
    assert "retention-risk of mass" in table
    assert max(map(len, table.splitlines())) <= 100
    assert history("webhooks", "list", "--view", "customers", "--json").rows == []


def test_it_rests_goes_on_and_is_told_again(history: History, added: str) -> None:
    assert history("webhooks", "pause", "crm", "--reason", "until nine").code == 0
    assert (row(history)["state"], row(history)["reason"]) == ("paused", "until nine")
    assert [one["name"] for one in history("webhooks", "list", "--failing", "--json").rows] == ["crm"]
    assert history("webhooks", "resume", "crm").code == 0
    assert row(history)["state"] == "active"
    assert history("webhooks", "list", "--failing", "--json").rows == []
    done = history("webhooks", "replay", "crm", "--after-position", "1200")
    assert "1,200" in done.out
    assert history("webhooks", "letters", "--json").rows == []
    assert "0 dead letters" in history("webhooks", "retry", "crm").out
    acts = history("audit", "acts", "--area", "webhooks", "--json").rows[-5:]
    assert [one["what"]["change"] for one in acts] == ["added", "paused", "resumed", "replayed", "retried"]
    assert acts[1]["reason"] == "until nine"


def test_it_is_told_somewhere_else_and_of_others(history: History, added: str) -> None:
    assert history("webhooks", "change", "crm", "--url", "https://crm.example/v2").code == 0
    assert (row(history)["url"], row(history)["segments"]) == ("https://crm.example/v2", ["mass"])
    assert history("webhooks", "change", "crm", "--all-segments").code == 0
    assert (row(history)["url"], row(history)["segments"]) == ("https://crm.example/v2", None)


def test_a_new_secret_is_another_one(history: History, added: str) -> None:
    told = json.loads(history("webhooks", "secret", "crm", "--json").out)
    assert key_of(told["secret"]) != key_of(added)


def test_from_now_on_it_has_what_is_there(history: History) -> None:
    done = history("webhooks", "add", "later", "--url", URL, "--view", "customers", "--from-now")
    assert done.code == 0
    assert "whsec_" in done.out
    assert row(history)["token"] is not None
    assert history("webhooks", "remove", "later").code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add", "a b", "--url", URL, "--view", "customers"), "Choose 1 to 64 letters"),
        (("add", "x", "--url", "http://me@crm.example", "--view", "customers"), "https URL"),
        (("add", "x", "--url", URL, "--view", "custom"), "kehu views list"),
        (("add", "x", "--url", URL, "--view", "customers", "--secret", "abc"), "whsec_"),
        (("add", "crm", "--url", URL, "--view", "customers"), "Choose another"),
        (("list", "--view", "custom"), "kehu views list"),
        (("pause", "nobody"), "kehu webhooks list"),
        (("change", "nobody", "--url", URL), "kehu webhooks list"),
        (("change", "crm", "--url", "http://me@crm.example"), "https URL"),
        (("change", "crm"), "say what is to be changed"),
        (("change", "crm", "--segment", "mass", "--all-segments"), "--all-segments"),
        (("retry", "nobody"), "kehu webhooks list"),
    ],
)
def test_what_cannot_be_done_says_why(history: History, added: str, arguments: tuple[str, ...], told: str) -> None:
    done = history("webhooks", *arguments)
    assert done.code == 2
    assert told in done.err


def test_a_process_that_delivers_needs_networks_that_can_be_read(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEHU_WEBHOOK_NETWORKS", "10.0.0.1/8")
    done: Done = kehu("webhooks", "deliver", "--postgres", history.postgres)
    assert done.code == 2
    assert "10.1.0.0/16" in done.err
