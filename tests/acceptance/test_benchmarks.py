"""Every group of figures can be measured: their names and the shape of the JSON. Times are not judged here."""

import json
from pathlib import Path

import pytest

from benchmarks import live_steps, load, rebuild_steps
from benchmarks.__main__ import main
from benchmarks.profile import STEPS
from benchmarks.rebuild import fill_log
from infra.embedded.postgres import EmbeddedPostgres
from projections.catalogue import ALL

FIGURES = {
    "ingest": {
        "ingest_vs_copy",
        "ingest_vs_plain",
        "ingest_two_workers",
        "ingest_two_workers_cpu",
        "ingest_growth",
        "worker_rss_mb",
    },
    "latency": {
        "produce_to_commit_p50_ms",
        "produce_to_commit_p99_ms",
        "commit_to_visible_p50_ms",
        "commit_to_visible_p99_ms",
        "produce_to_visible_p99_ms",
    },
    "profile": {"event_us"} | {f"{step}_share" for step in STEPS},
    "query": {
        "customer_p99_ms",
        "whole_customer_p99_ms",
        "queue_p99_ms",
        "queues_p99_ms",
        "satisfaction_p99_ms",
        "satisfaction_branches_p99_ms",
        "http_customer_rps",
        "http_customer_p99_ms",
        "http_customer_us",
        "export_rss_mb",
        "idle_cpu",
    },
    "subscribe": {"publish_rps", "sse_p99_ms", "sse_changes", "sse_cpu", "sse_rss_mb"},
    "encryption": {
        *("encryption_cost", "encryption_cost_cpu", "encrypted_events"),
        *("read_for_projections", "read_with_personal_data"),
    },
    "scaling": {
        *(f"workers_{number}{what}" for number in (1, 2, 4) for what in ("", "_cpu_us")),
        "stored_events_bytes",
        "inbox_bytes",
    },
    "rebuild": {"rebuild_vs_read", "rebuild_vs_projection_runner", "rebuild_growth", "rebuild_rss_mb"},
}


@pytest.mark.parametrize("group", FIGURES)
def test_a_group_prints_its_figures_and_writes_them_as_json(
    group: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "figures.json"
    main([group, "--events", "2000", "--rounds", "1", "--json", str(written)])
    figures = json.loads(written.read_bytes())
    assert set(figures) == FIGURES[group]
    assert all(set(figure) == {"value", "unit", "against", "ratio"} for figure in figures.values())
    assert all(figure["value"] >= 0 and isinstance(figure["unit"], str) for figure in figures.values())
    for figure in figures.values():
        if figure["against"]:
            assert figure["ratio"] == pytest.approx(figure["value"] / figure["against"])
        else:
            assert figure["ratio"] is None
    shown = capsys.readouterr().out
    assert all(name in shown for name in figures)


def test_what_is_measured_step_by_step_can_be(postgres_server: EmbeddedPostgres) -> None:
    rebuilt, live = (postgres_server.create_database(name) for name in ("rebuild_steps", "live_steps"))
    fill_log(rebuilt, load.messages(600))
    found = rebuild_steps.steps(rebuilt)
    assert {f"fold {projection.name}" for projection in ALL} | {"read", "decode", "index (server)"} <= found.keys()
    assert set(live_steps.measure(live, 400)) == {"batch_p50_ms", "projector_us", "server_us"}


def test_an_unknown_group_is_refused_with_the_groups_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["weather"])
    told = capsys.readouterr().err
    assert all(group in told for group in FIGURES)
