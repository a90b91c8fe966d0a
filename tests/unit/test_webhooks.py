"""Webhooks: signatures, where they may go, and how events become messages."""

import json
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.webhook_delivery import LONGEST, backoff
from infra.webhooks.addresses import WrongNetwork, WrongUrl, allowed, check_url, networks
from infra.webhooks.messages import BYTES, EVENTS, batches
from infra.webhooks.signing import WrongSecret, key_of, new_secret, signed
from tests.support.receiver import verified


def test_a_signature_is_that_of_the_standard() -> None:
    # The example of the specification and of its libraries.
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}', [key])
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_a_secret_is_replaced_a_receiver_with_either_of_them_finds_its_signature() -> None:
    new, former = new_secret(), new_secret()
    assert new != former
    headers = signed("m", datetime.now(UTC), b"[]", map(key_of, (new, former)))
    assert verified(new, headers, b"[]")
    assert verified(former, headers, b"[]")
    assert not verified(new_secret(), headers, b"[]")
    assert not verified(new, headers, b"[ ]")


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_YQ==", "whsec_%%%", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(WrongSecret, match="whsec_"):
        key_of(secret)


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),  # carriers
        ("169.254.169.254", False),  # metadata of clouds
        ("0.0.0.0", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("::", False),
        ("::1", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),  # 10.0.0.1 behind a translating gateway
        ("2002:a00:1::", False),  # the same by 6to4
    ],
)
def test_webhooks_go_to_the_internet_only(address: str, may: bool) -> None:
    assert allowed(ip_address(address), [], plain=False) is may
    assert not allowed(ip_address(address), [], plain=True), "and never without encryption"


def test_an_own_network_is_allowed_when_the_operator_names_it() -> None:
    own = networks("10.1.0.0/16, fd00::/8,")
    for plain in (False, True):
        assert allowed(ip_address("10.1.2.3"), own, plain=plain)
        assert allowed(ip_address("::ffff:10.1.2.3"), own, plain=plain)
        assert allowed(ip_address("fd00::1"), own, plain=plain)
        assert not allowed(ip_address("10.2.0.1"), own, plain=plain)
    with pytest.raises(WrongNetwork, match=r"10\.1\.0\.0/16"):
        networks("10.1.0.1/16")


@pytest.mark.parametrize(
    "url",
    ["", "crm.example", "ftp://crm.example", "https://", "https://me:pw@crm.example", "https://crm.example:0/",
     "https://crm.example:x/", "https://crm.example/#a", "https://crm.example/a b", "https://[::1", "https://ü.example/"],
)  # fmt: skip
def test_an_address_that_cannot_be_told_is_refused_with_a_remedy(url: str) -> None:
    with pytest.raises(WrongUrl, match="https URL"):
        check_url(url)
    check_url("https://crm.example:8443/hooks/kehu?of=1")


EVENT = st.tuples(st.text("abc", max_size=3), st.integers(1, 60_000).map(lambda n: b'"' + b"x" * n + b'"'))


@given(st.lists(EVENT, max_size=250))
def test_messages_hold_all_events_in_their_order_and_are_not_too_large(events: list[tuple[str, bytes]]) -> None:
    made = batches("crm", events)
    assert [key for message in made for key in message.keys] == [key for key, _ in events]
    assert [json.dumps(one).encode() for message in made for one in json.loads(message.body)] == [e for _, e in events]
    for message in made:
        assert 1 <= len(message.keys) <= EVENTS
        assert len(message.body) <= BYTES + EVENTS + 2 or len(message.keys) == 1
    assert [one.id for one in batches("crm", events)] == [one.id for one in made], "sent again they have the same ids"


@given(st.integers(1, 100), st.floats(0, 1))
def test_a_wait_grows_and_has_an_end(attempts: int, jitter: float) -> None:
    wait = backoff(attempts, lambda: jitter)
    assert min(2.0 ** (attempts - 1), LONGEST) <= wait <= 1.2 * LONGEST
    assert backoff(attempts + 1, lambda: 0.0) >= backoff(attempts, lambda: 0.0)
