"""The files in docs/reference say what the models say, and no released version is ever broken."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from domain import registry
from domain.ports import Message, Partition
from domain.values import Event
from infra.kafka import codec, contracts
from infra.kafka.compatibility import breaking_changes
from infra.kafka.topics import TOPICS, topic_of
from infra.postgres.mapper import to_recorded
from tests.support.builders import NOON, said
from tests.support.golden import ALL, PUBLISHED, Golden

ROOT = Path(__file__).parents[2] / contracts.REFERENCE
STORED_META = {"id": "e1", "source": "/test", "customer": "c1", "at": "2026-03-02T12:00:00+00:00"}
OPENED: dict[str, Any] = contracts.schema(codec.types()["kehu.complaint.opened.v1"])


def test_the_reference_is_what_the_models_say() -> None:
    assert contracts.stale(ROOT) == [], "run `python -m infra.kafka.contracts`"


def test_every_released_version_is_accepted_as_before() -> None:
    assert contracts.broken(ROOT) == []


def test_the_same_models_give_the_same_files() -> None:
    assert contracts.generate() == contracts.generate()


def test_a_file_that_was_changed_by_hand_is_stale_and_written_again(tmp_path: Path) -> None:
    contracts.write(tmp_path)
    (tmp_path / "events.md").write_text("something else")
    assert contracts.stale(tmp_path) == [Path("events.md")]
    assert contracts.write(tmp_path) == [Path("events.md")]
    assert contracts.stale(tmp_path) == []


def test_a_change_that_breaks_a_released_version_is_not_written(tmp_path: Path) -> None:
    contracts.write(tmp_path)
    released = tmp_path / "schemas" / "kehu.survey.answered.v1.json"
    wider = orjson.loads(released.read_bytes())
    wider["properties"]["score"]["maximum"] = 100
    released.write_bytes(orjson.dumps(wider))
    with pytest.raises(contracts.ContractBroken, match=r"survey\.answered\.v1: data\.score: maximum is 10 now"):
        contracts.write(tmp_path)
    assert orjson.loads(released.read_bytes()) == wider


def test_a_released_type_cannot_disappear(tmp_path: Path) -> None:
    contracts.write(tmp_path)
    (tmp_path / "schemas" / "kehu.survey.lost.v1.json").write_text("{}")
    assert contracts.broken(tmp_path) == ["kehu.survey.lost.v1: the type was removed"]


def _change(schema: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split("/")
    for parent in parents:
        schema = schema[parent]
    schema[last] = value


def _remove(schema: dict[str, Any], path: str) -> None:
    *parents, last = path.split("/")
    for parent in parents:
        schema = schema[parent]
    del schema[last]


Edit = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda s: _remove(s, "properties/issue"), "data.issue: the field was removed"),
        (lambda s: s["required"].append("issue"), "data.issue: is required now"),
        (lambda s: _change(s, "properties/severity/type", "string"), "data.severity: the type changed"),
        (lambda s: _change(s, "properties/severity/maximum", 3), "data.severity: maximum is 3 now, it was 4"),
        (lambda s: _change(s, "properties/channel/minLength", 2), "data.channel: minLength is 2 now, it was 1"),
        (lambda s: _change(s, "properties/channel/pattern", "^a"), "data.channel: pattern is ^a now"),
        (lambda s: s["properties"]["case_type"]["enum"].remove("dispute"), "['dispute'] are no longer accepted"),
        (lambda s: _change(s, "properties/channel/enum", ["app"]), "data.channel: only ['app'] are accepted now"),
        (lambda s: _change(s, "properties/queue/default", "cases"), "data.queue: the default changed"),
        (lambda s: s["properties"]["issue"]["anyOf"].pop(), "data.issue: the type changed from null"),
        (lambda s: s["$defs"]["Money"]["required"].append("place"), "data.amount.place: is required now"),
    ],
)
def test_a_narrower_contract_is_a_breaking_change(edit: Edit, told: str) -> None:
    new = copy.deepcopy(OPENED)
    edit(new)
    changes = breaking_changes(OPENED, new)
    assert len(changes) == 1
    assert told in changes[0]


@pytest.mark.parametrize(
    "edit",
    [
        lambda _s: None,
        lambda s: _change(s, "properties/mood", {"type": "string", "default": None}),
        lambda s: s["required"].remove("channel"),
        lambda s: _change(s, "properties/severity/maximum", 5),
        lambda s: _change(s, "properties/severity/type", "number"),
        lambda s: _remove(s, "properties/channel/maxLength"),
        lambda s: s["properties"]["case_type"]["enum"].append("praise"),
        lambda s: _remove(s, "properties/case_type/enum"),
        lambda s: s["properties"]["issue"]["anyOf"].reverse(),
        lambda s: _change(s, "additionalProperties", True),
        lambda s: _change(s, "description", "said better"),
    ],
)
def test_a_wider_contract_breaks_nothing(edit: Edit) -> None:
    new = copy.deepcopy(OPENED)
    edit(new)
    assert breaking_changes(OPENED, new) == []


def test_narrower_items_of_a_list_are_a_breaking_change() -> None:
    old = contracts.schema(codec.types()["kehu.customer.registered.v1"])
    new = copy.deepcopy(old)
    new["properties"]["products"]["items"]["maxLength"] = 20
    assert breaking_changes(old, new) == ["data.products[]: maxLength is 20 now, it was 120"]
    assert breaking_changes(new, old) == []


def test_every_version_of_every_event_has_a_golden_file() -> None:
    assert codec.types()
    versions = {f"{r.name}.v{v}" for r in registry.all_registrations() for v in range(1, r.version + 1)}
    assert {golden.topic for golden in ALL} == versions


@pytest.mark.parametrize("golden", ALL, ids=lambda golden: golden.topic)
def test_what_was_stored_once_can_be_read_for_ever(golden: Golden) -> None:
    state = orjson.dumps({"meta": STORED_META, "data": golden.data})
    recorded = to_recorded("stream", 1, golden.topic, state, 1, NOON)
    assert registry.of(recorded.event).name == registry.split_topic(golden.topic)[0]
    _keeps(golden, recorded.event)


@pytest.mark.parametrize("golden", PUBLISHED, ids=lambda golden: golden.topic)
def test_what_was_published_once_can_be_read_for_ever(golden: Golden) -> None:
    name = golden.event["type"].removeprefix("kehu.").rpartition(".v")[0]
    key, value = golden.event["subject"].encode(), orjson.dumps(golden.event)
    fact = codec.decode(Message(Partition(topic_of(name), "t", 0), 0, 0, key, value), NOON)
    meta = fact.meta
    subject = "kehu:bank" if name.startswith("action.") else "c-100023"
    assert (meta.event_id, meta.source, meta.customer_id) == (f"golden-{name}", "/channels/branch-042", subject)
    assert meta.occurred_at.isoformat() == "2026-03-02T12:00:00+01:00"
    assert (meta.correlation_id, meta.causation_id, meta.traceparent) == (
        "visit-77",
        "e-0",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    _keeps(golden, fact.data)


def _keeps(golden: Golden, read: Event) -> None:
    """Nothing of the newest version is lost on reading; what older ones become is for their upcaster's test."""
    name, version = registry.split_topic(golden.topic)
    if version == registry.named(name).version:
        assert {**said(read), **golden.data} == said(read)


@pytest.mark.parametrize("golden", PUBLISHED, ids=lambda golden: golden.topic)
def test_the_schema_accepts_what_the_model_accepts(golden: Golden) -> None:
    written = orjson.loads((ROOT / "schemas" / f"{golden.event['type']}.json").read_bytes())
    Draft202012Validator.check_schema(written)
    validator = Draft202012Validator(written)
    assert validator.is_valid(golden.data)
    assert not validator.is_valid({**golden.data, "unheard_of": 1})


def test_asyncapi_has_every_type_in_both_modes_on_its_topic() -> None:
    document = orjson.loads(contracts.generate()[Path("asyncapi.json")])
    listed = {(topic, name) for topic, channel in document["channels"].items() for name in channel["messages"]}
    assert listed == {
        (topic_of(r.name), f"{r.type}.{mode}") for r in codec.types().values() for mode in ("structured", "binary")
    }
    assert set(document["channels"]) == set(TOPICS.values())


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = orjson.loads(contracts.generate()[Path("asyncapi.json")])
    references = list(_references(document))
    assert len(references) > 100
    for reference in references:
        found = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in found, reference
            found = found[part]


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [node["$ref"]] if "$ref" in node else [one for value in node.values() for one in _references(value)]
    return [one for value in node for one in _references(value)] if isinstance(node, list) else []
