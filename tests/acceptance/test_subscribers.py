"""Subscribers of views: killed again and again, and others that are not ours; each ends with exactly the rows."""

import asyncio
import json
import os
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from consumers.view_publisher import ViewPublisher
from tests.faults import subscribing
from tests.support.apache_kafka import write_command
from tests.support.markdown import blocks
from tests.support.processes import require
from tests.support.project import ROOT
from tests.support.views import shown
from tests.support.world import World, arrives, leaves

PAGE = ROOT / "docs" / "howto" / "subscribe.md"


@pytest.mark.parametrize("by", ["topic", "webhook", "http"])
def test_kills_of_both_a_switch_and_a_lost_topic_leave_exactly_the_rows(
    database: str, topics: str, tmp_path: Path, by: subscribing.By, request: pytest.FixtureRequest
) -> None:
    if by != "topic" and "apache" in request.node.callspec.id:
        pytest.skip("no broker takes part in it")
    report = subscribing.run(database, topics, tmp_path, restarts=5, changes=3000, seed=11, by=by)
    assert report.rows > 300
    lost = 1 if by == "topic" else 0
    assert (report.changes, report.kills, report.switches, report.topics_lost) == (3000, 10, 1, lost)
    assert report.rows <= report.effects


@pytest.fixture
def published(database: str, topics: str) -> dict[str, Any]:
    """A view on its topic, with rows that changed and rows that are gone: key -> row."""

    async def publish(world: World) -> None:
        publisher = ViewPublisher(database, topics, lambda _seconds: None)
        for happens in (arrives, leaves):
            for number in range(12 if happens is arrives else 5):
                world.happens(*happens(number))
            while (await publisher.once())[1]:
                pass
        await publisher.on_stop()

    with closing(World(database)) as world:
        asyncio.run(publish(world))
    return {key: row for key, (_, row) in shown(database, subscribing.VIEW).items()}


@pytest.mark.kafka
@pytest.mark.parametrize("broker", ["apache"], indirect=True)  # kcat does not understand the embedded broker
@pytest.mark.parametrize("client", ["kcat", "kafka-console-consumer.sh"])
def test_the_commands_of_the_page_show_the_view(
    client: str, topics: str, published: dict[str, Any], tmp_path: Path
) -> None:
    write_command(tmp_path / "kafka-console-consumer.sh", "org.apache.kafka.tools.consumer.ConsoleConsumer")
    if client == "kcat":
        require("kcat")
    (block,) = [one.text for one in blocks(PAGE) if "kcat" in one.text]
    (command,) = [line for line in block.splitlines() if line.startswith(client)]
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "KEHU_KAFKA": topics},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    rows = {}
    for key, value in (line.split("\t") for line in done.stdout.splitlines()):
        rows[key] = None if value in ("", "null", "NULL") else json.loads(value)
    assert {key: row for key, row in rows.items() if row is not None} == published, done.stderr
    assert len(published) == 7
    assert len(rows) == 12, "five are gone"
