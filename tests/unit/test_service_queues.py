"""What waits in which queue, and what came in and went out."""

from consumers.projector import Projector
from domain import handling, registry
from domain.complaint import ComplaintOpened, ComplaintReopened, ComplaintResolved
from domain.contact import ContactEnded, ContactQueued, ContactStarted, ContactTransferred
from domain.ports import Batch
from domain.values import Event, Recorded
from infra.memory.log import MemoryLog
from infra.memory.read_models import MemoryReadModels
from projections.service_queues import FLOW, ITEMS, SERVICE_QUEUES
from tests.support.builders import NOON, fact

QUEUED = ContactQueued(contact_id="k", queue="cards", channel="phone")
STARTED = ContactStarted(contact_id="k")
OPENED = ComplaintOpened(complaint_id="p", channel="app", queue="complaints")
RESOLVED = ComplaintResolved(complaint_id="p", outcome="rejected", reasons="Terms.", onward_rights="Ombudsman.")


def folded(*events: Event) -> tuple[dict[str, bool], dict[str, tuple[int, int]]]:
    """Open or not per item, and (inflow, outflow) per queue, after these events."""
    log, models = MemoryLog(), MemoryReadModels()
    versions: dict[str, int] = {}
    for event in events:
        made = fact(event)
        name = handling.stream_of(made)
        versions[name] = versions.get(name, 0) + 1
        log.append(Batch(events=[Recorded(name, versions[name], event, made.meta, registry.of(event).name)]))
    projector = Projector(log, models, [SERVICE_QUEUES])
    projector.run_until_caught_up()
    assert projector.stopped == {}
    items = models.rows.get((SERVICE_QUEUES.name, ITEMS.name), {})
    flow = models.rows.get((SERVICE_QUEUES.name, FLOW.name), {})
    return (
        {str(key[0]): bool(row["open"]) for key, (_, row) in items.items()},
        {str(key[0]): (row["inflow"], row["outflow"]) for key, (_, row) in flow.items() if key[2] == NOON.date()},
    )


def test_a_contact_is_open_until_it_ends() -> None:
    assert folded(QUEUED) == ({"contact-k": True}, {"cards": (1, 0)})
    assert folded(QUEUED, STARTED, ContactEnded(contact_id="k", resolved=True)) == ({}, {"cards": (1, 1)})


def test_a_transfer_leaves_one_queue_and_enters_another() -> None:
    moved = ContactTransferred(contact_id="k", to_queue="loans")
    assert folded(QUEUED, STARTED, moved) == ({"contact-k": True}, {"cards": (1, 1), "loans": (1, 0)})


def test_a_case_that_is_reopened_is_open_again() -> None:
    assert folded(OPENED, RESOLVED)[0] == {"complaint-p": False}
    assert folded(OPENED, RESOLVED, ComplaintReopened(complaint_id="p", reason="again"))[0] == {"complaint-p": True}
