"""What a token may allow. Read by the command line too, which must start fast: nothing else is imported here."""

from collections.abc import Mapping

EVENTS, VIEWS, AUDIT, ADMIN = "events:write", "views:read", "audit:read", "admin"
SERVICE, OPERATE = "service:read", "service:write"
SCOPES: Mapping[str, str] = {
    EVENTS: "publish events of the sources that the claim `source` names, and ask for their receipts",
    VIEWS: "read the read models, within the rows of the claims `branches` and `segments`",
    SERVICE: "read how the service stands: projections, parked messages, dead letters, webhooks, receipts",
    OPERATE: "manage webhooks, send dead letters again, take parked messages out of their queues",
    AUDIT: "read who read personal data, replay views, fill in returns, and have scores and deadlines explained",
    ADMIN: "everything",
}
EVERYTHING = "*"
"""In a claim: all of them."""
