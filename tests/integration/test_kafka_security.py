"""A broker that wants a password over TLS and allows each user its own work only: Apache Kafka, ACLs as documented."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumers.outcome import Outcome, Outcomes
from infra.errors import KehuError
from infra.kafka import codec, security
from infra.kafka.producer import HEADERS, Outgoing, publish
from infra.kafka.topics import DEAD_LETTERS, extents
from infra.kafka.views import VIEW_TOPICS, Encoded, ViewProducer
from infra.settings import Settings, WrongSettings
from tests.support.apache_kafka import ApacheKafka, write_command
from tests.support.cli import kehu
from tests.support.ingesting import ingesting, survey
from tests.support.markdown import blocks
from tests.support.project import ROOT

USERS = {
    "kehu-worker": "of-the-worker",
    "kehu-channel": "of-a-channel",
    "kehu-subscriber": "of-a-subscriber",
    "kehu-operator": "of-operators",
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A broker with the users and the ACLs of docs/howto/secure-kafka.md, and Kehu's topics."""
    folder: Path = tmp_path_factory.mktemp("secured")
    with ApacheKafka.start(folder, USERS) as running:
        write_command(folder / "kafka-acls.sh", "org.apache.kafka.tools.AclCommand")
        (script,) = [one.text for one in blocks(ROOT / "docs/howto/secure-kafka.md") if "kafka-acls.sh" in one.text]
        admin = f"ADMIN='--bootstrap-server {running.bootstrap_servers}'\nset -e\n"
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        subprocess.run(["bash", "-c", admin + script], check=True, env=environment, capture_output=True, timeout=180)
        yield running


@pytest.fixture
def as_user(node: ApacheKafka, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Become one of the users, as the environment says it; the address of the broker."""

    def become(name: str, **changed: str) -> str:
        variables = {
            "SECURITY_PROTOCOL": "SASL_SSL",
            "USERNAME": name,
            "PASSWORD": USERS[name],
            "CA_FILE": str(node.ca_file),
            **changed,
        }
        for variable, value in variables.items():
            monkeypatch.setenv(f"KEHU_KAFKA_{variable}", value)
        return node.secure_servers

    return become


def messages(number: int) -> list[Outgoing]:
    """Invitations and answers of a channel."""
    encoded = [codec.structured(one) for n in range(number) for one in survey(n)]
    return [("kehu.surveys", key, value, headers) for key, value, headers in encoded]


async def sent(servers: str, topic: str, rows: list[Encoded]) -> None:
    """Send messages of a view."""
    producer = ViewProducer(servers)
    await producer.send(topic, rows)
    await producer.close()


@pytest.mark.kafka
def test_each_user_can_do_its_work(database: str, as_user: Callable[..., str]) -> None:
    made = kehu("setup", "--postgres", database, "--kafka", as_user("kehu-operator"))
    assert made.code == 0, made.err
    assert asyncio.run(publish(as_user("kehu-channel"), messages(20))) == {"kehu.surveys": 40}
    settings = Settings(postgres=database, kafka=as_user("kehu-worker"))

    async def work() -> Outcomes:
        async with ingesting(settings) as counted:
            await counted.until(40)
        return counted.outcomes

    assert asyncio.run(work())[Outcome.APPENDED] == 40
    published = asyncio.run(publish(as_user("kehu-worker"), [(DEAD_LETTERS, b"k", b"v", HEADERS)]))
    assert published == {DEAD_LETTERS: 1}
    row: list[Encoded] = [(b"c1", b"{}", [("ce_sequence", b"1")])]
    for topic in VIEW_TOPICS:
        asyncio.run(sent(as_user("kehu-worker"), topic, row))
    held = asyncio.run(extents(as_user("kehu-subscriber"), VIEW_TOPICS))
    assert sum(one.messages for one in held.values()) == len(VIEW_TOPICS)
    shown = kehu("show", "reconciliation", "--postgres", database, "--kafka", as_user("kehu-operator"))
    assert shown.code == 0, shown.err


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("kehu-worker", "kehu.surveys"),
        ("kehu-channel", DEAD_LETTERS),
        ("kehu-channel", "kehu.elsewhere"),
        ("kehu-subscriber", VIEW_TOPICS[0]),
    ],
)
def test_nobody_writes_where_the_work_does_not_need_it(user: str, topic: str, as_user: Callable[..., str]) -> None:
    with pytest.raises(KehuError, match="uthoriz"):
        asyncio.run(publish(as_user(user), [(topic, b"k", b"v", HEADERS)]))


@pytest.mark.kafka
def test_a_channel_reads_nothing(as_user: Callable[..., str]) -> None:
    with pytest.raises(KehuError, match="uthoriz"):
        asyncio.run(extents(as_user("kehu-channel"), ["kehu.surveys"]))


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"PASSWORD": "guessed"}, "uthentication"),
        ({"CA_FILE": ""}, "CERTIFICATE_VERIFY_FAILED"),
        ({"SECURITY_PROTOCOL": "PLAINTEXT"}, "Kafka at localhost"),
    ],
)
def test_who_is_not_known_is_told_why(changed: dict[str, str], told: str, as_user: Callable[..., str]) -> None:
    with pytest.raises(KehuError, match=told):
        asyncio.run(publish(as_user("kehu-channel", **changed), messages(1)))


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, "SASL needs KEHU_KAFKA_USERNAME and KEHU_KAFKA_PASSWORD"),
        (
            {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_MECHANISM": "PLAIN", "USERNAME": "u", "PASSWORD": "p"},
            "use SASL_SSL, or a SCRAM mechanism",
        ),
        ({"SECURITY_PROTOCOL": "TLS"}, "KEHU_KAFKA_SECURITY_PROTOCOL"),
        ({"SECURITY_PROTOCOL": "SSL", "CA_FILE": "/nowhere.pem"}, "KEHU_KAFKA_CA_FILE"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    variables: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"KEHU_KAFKA_{name}", value)
    with pytest.raises(WrongSettings, match=told):
        security.options()


def test_without_settings_nothing_is_said_to_a_client() -> None:
    assert security.options() == {}


@pytest.mark.kafka
def test_a_command_with_a_wrong_password_says_so(database: str, as_user: Callable[..., str]) -> None:
    done = kehu("setup", "--postgres", database, "--kafka", as_user("kehu-operator", PASSWORD="guessed"))
    assert done.code != 0
    assert "uthentication" in done.err
