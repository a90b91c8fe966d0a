"""The page of the metrics has every metric, as it is served, and its alerts ask for nothing that is not there."""

import re

import yaml
from prometheus_client.metrics_core import Metric

from domain.ports import Batch, Move
from infra.figures import Folding, Held, Reading
from infra.telemetry import Telemetry
from tests.support.builders import SURVEYS
from tests.support.markdown import blocks
from tests.support.project import ROOT

PAGE = ROOT / "docs" / "reference" / "metrics.md"
ROW = re.compile(r"\| `(?P<name>kehu_\w+)` \| (?P<type>\w+) \|(?P<labels>[^|]*)\| .{10,} \|")
OF_FAMILY = {"counter": "_total", "gauge": "", "histogram": ""}
PARTS = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_count", "_sum"]}


def served() -> dict[str, tuple[str, frozenset[str]]]:
    """Name -> type and labels of every metric of a worker in which everything has happened."""
    telemetry = Telemetry([SURVEYS.topic])
    telemetry.ask(lambda: Reading(1, 1, 0, {SURVEYS.topic: 1}), {"postgresql": lambda: None})
    telemetry.show(Held(1, 1, [Folding("satisfaction", 1, 0, 0, False, False)], {"t": 1}, 1, {"t": 1}, 1, 1, {"v": 1}))
    telemetry.published("satisfaction", 1)
    telemetry.batch(0.1, {SURVEYS.topic: 1})
    with telemetry.appending(Batch(moves=[Move(SURVEYS, 0, 1, appended=1)])):
        pass
    families = [family for family in telemetry.registry.collect() if family.name.startswith("kehu_")]
    return {f"{family.name}{OF_FAMILY[family.type]}": (family.type, labels(family)) for family in families}


def labels(family: Metric) -> frozenset[str]:
    """What tells the series of a metric apart, without the buckets of a histogram."""
    assert family.samples, family.name
    return frozenset(label for sample in family.samples for label in sample.labels) - {"le"}


def test_the_page_has_every_metric_with_its_type_and_labels() -> None:
    rows = [match for line in PAGE.read_text("utf-8").splitlines() if (match := ROW.fullmatch(line))]
    described = {row["name"]: (row["type"], frozenset(re.findall(r"`(\w+)`", row["labels"]))) for row in rows}
    assert described == served()
    assert len(rows) == len(described)


def test_the_alerts_ask_for_metrics_and_labels_that_exist() -> None:
    (block,) = [block for block in blocks(PAGE) if block.language == "yaml"]
    (group,) = yaml.safe_load(block.text)["groups"]
    known = {name + part: labels for name, (kind, labels) in served().items() for part in PARTS[kind]}
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"]) > 10
    for rule in group["rules"]:
        asked = re.findall(r"(kehu_\w+)(?:\{(\w+)=)?", rule["expr"])
        assert asked or rule["expr"].startswith("up{"), rule
        for name, label in asked:
            assert name in known, rule
            assert not label or label in known[name], rule
