"""Corrected dead letters, before they are published again."""

from datetime import UTC, datetime, timedelta

import pytest

from infra.kafka.limits import DEFAULT
from infra.operating import letters

FAR = datetime(2999, 1, 1, tzinfo=UTC)


def test_a_corrected_event_is_judged_by_the_time_that_is_given() -> None:
    event = {
        "specversion": "1.0",
        "id": "e-1.repair-7",
        "source": "/channels/app",
        "type": "kehu.complaint.opened.v1",
        "subject": "c-1",
        "time": FAR.isoformat(),
        "data": {"complaint_id": "p-1", "channel": "app", "issue": "fee", "regime": "uk_disp_standard"},
    }
    topic, key, _, headers = letters.outgoing(event, 7, FAR, DEFAULT)
    assert (topic, key) == ("kehu.complaints", b"c-1")
    assert (letters.REPAIRS, b"7") in headers
    with pytest.raises(letters.NotRepaired, match="time-out-of-range"):
        letters.outgoing(event, 7, FAR - DEFAULT.ahead - timedelta(seconds=1), DEFAULT)
