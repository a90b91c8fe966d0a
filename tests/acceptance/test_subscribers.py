"""A publisher and a subscriber that are killed again and again end with exactly the rows of the read model."""

from pathlib import Path

from tests.faults import subscribing


def test_kills_of_both_a_switch_and_a_lost_topic_leave_exactly_the_rows(
    database: str, topics: str, tmp_path: Path
) -> None:
    report = subscribing.run(database, topics, tmp_path, restarts=5, changes=3000, seed=11)
    assert report.rows > 300
    assert (report.changes, report.kills, report.switches, report.topics_lost) == (3000, 10, 1, 1)
    # Bursts are one change, and none has its effect twice: fewer than events, and every row at least once.
    assert report.rows <= report.effects
