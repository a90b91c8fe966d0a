"""Consumer complaints sent to banks (CFPB public database) as complaints under the preset us_cfpb.

    python -m examples.cfpb_complaints complaints.csv | kehu publish -

Each row becomes an opening and what its columns tell about the end. The file has no customer id and often no complaint
id: both are made from the content of the row, so a row that repeats all fields has the same ids and is a duplicate.

- `received_at` is the day on which the complaint was sent to the company, since the clock of us_cfpb starts there. On
  rows where that lies before the day on which the consumer complained, it is the later day.
- The file has no date of the response. A timely one is dated 15 days after the start of the clock, any other 16 days;
  a dispute follows a day later, and an undisputed case is closed after the consumer's 60 days for feedback.
- Relief means upheld (monetary) or partly upheld (other); an explanation only means rejected. "In progress" is an
  extension, "Untimely response" leaves the complaint open.
- The case's queue is the company, the branch is the state. Narratives are cut at 4,000 characters.
"""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from examples.common import CloudEvent, Report, Row, cloud_event, main, row_by_row, row_id

SOURCE = "/examples/cfpb-complaints"
OUTCOMES = {
    "Closed with monetary relief": "upheld",
    "Closed with non-monetary relief": "partly_upheld",
    "Closed with explanation": "rejected",
    "Closed": "rejected",
}
RESPONSE, FEEDBACK = timedelta(days=15), timedelta(days=60)
DAY = timedelta(days=1)
ONWARD = "The consumer may dispute this response within 60 days."


def events(row: Row, report: Report) -> list[CloudEvent]:
    """The events of one complaint."""
    complaint = f"cfpb-{row['complaint_id'] or row_id(row)}"
    received, sent = _day(row["date_received"]), _day(row["date_sent_to_company"])
    if sent < received:
        report.notes["complaints sent to the company before they were received: the later day counts"] += 1
    reached = max(received, sent)
    made: list[CloudEvent] = []

    def add(name: str, at: datetime, **data: Any) -> None:
        time, data = _rfc3339(at), {"complaint_id": complaint, **data}
        made.append(
            cloud_event(SOURCE, f"{complaint}-{name}", f"complaint.{name}", f"consumer-{complaint}", time, data)
        )

    add(
        "opened",
        reached,
        channel=row["submitted_via"].lower(),
        queue=row["company"],
        regime="us_cfpb",
        product=row["product"],
        branch=row["state"] or None,
        issue=row["issue"] or None,
        cause=row["sub_issue"] or None,
        vulnerable="Older American" in row["tags"],
        description=row["consumer_complaint_narrative"][:4000] or None,
        received_at=_rfc3339(reached),
    )
    response, answered = row["company_response_to_consumer"], reached + RESPONSE
    if row["timely_response"] != "Yes":
        answered += DAY
    if response in OUTCOMES:
        reasons = ". ".join(filter(None, (response, row["company_public_response"])))
        add("resolved", answered, outcome=OUTCOMES[response], reasons=reasons, onward_rights=ONWARD)
        if row["consumer_disputed"] == "Yes":
            add("reopened", answered + DAY, reason="the consumer disputed the response")
        elif row["consumer_disputed"] == "No":
            add("closed", answered + FEEDBACK)
    elif response == "In progress":
        needs = ["in_progress_response"]
        add("extended", answered, actor="company", reason="response in progress", provided=needs)
    elif response != "Untimely response":
        report.notes[f"complaints with the unknown response {response!r}: left open"] += 1
    return made


convert = row_by_row(events)


def _day(said: str) -> datetime:
    return datetime.strptime(said, "%Y-%m-%d").replace(tzinfo=UTC)


def _rfc3339(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    sys.exit(main(convert, __doc__))
