"""Dated 0-10 answers to "would you recommend us?" as surveys.

    python -m examples.nps_answers nps_answers.csv.gz | kehu publish -

Each row is an invitation and its answer, both on the day of the survey, since the file has no other date. The id of a
row names the invitation and the customer, who has none in the file; the market is the branch; the channel is not known.
"""

import sys
from datetime import date

from examples.common import CloudEvent, Report, Row, cloud_event, main, row_by_row

SOURCE = "/examples/nps-answers"


def events(row: Row, report: Report) -> list[CloudEvent]:
    """The invitation and the answer of one row."""
    number, time = int(row["ID"]), f"{date.fromisoformat(row['survey_date'])}T00:00:00Z"
    invitation, customer = f"nps-{number}", f"respondent-{number}"
    invited = {"metric": "nps", "scale": 10, "channel": "unknown", "branch": row["Market"], "survey": "recommendation"}
    return [
        cloud_event(
            SOURCE, f"{invitation}-{name}", f"survey.{name}", customer, time, {"invitation_id": invitation} | data
        )
        for name, data in (("invited", invited), ("answered", {"score": int(row["NPS"])}))
    ]


convert = row_by_row(events)

if __name__ == "__main__":
    sys.exit(main(convert, __doc__))
