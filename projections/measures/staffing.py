"""Staffing of live channels with Erlang C."""

from dataclasses import dataclass
from itertools import count as count_up
from math import exp


@dataclass(frozen=True, slots=True)
class Staffing:
    """What so many agents achieve on a live channel, by Erlang C."""

    agents: int
    wait_probability: float
    service_level: float
    """Share answered within the target time, 0..1."""
    speed_of_answer: float
    """Mean wait of all, seconds."""
    occupancy: float


def erlang_c(contacts_per_second: float, handling_time: float, agents: int, answer_within: float) -> Staffing | None:
    """Erlang C for a live channel; times in seconds. None when the agents cannot keep up and the queue only grows.

    The formula knows no customers who give up, so it overstates waits where many do. It says nothing about cases.
    """
    load = contacts_per_second * handling_time
    if agents <= load:
        return None
    blocked = 1.0
    for k in range(1, agents + 1):
        blocked = load * blocked / (k + load * blocked)
    waits = blocked / (1 - load / agents * (1 - blocked))
    spare = agents - load
    return Staffing(
        agents=agents,
        wait_probability=waits,
        service_level=1 - waits * exp(-spare * answer_within / handling_time),
        speed_of_answer=waits * handling_time / spare,
        occupancy=load / agents,
    )


def agents_needed(
    contacts_per_second: float, handling_time: float, answer_within: float = 20, service_level: float = 0.8
) -> Staffing:
    """The smallest staff that answers the share `service_level` in time. Raises ValueError for a share of 1 or more."""
    if service_level >= 1:
        raise ValueError("no staff answers every contact in time: ask for less than 1")
    enough = (
        staffing
        for agents in count_up(int(contacts_per_second * handling_time) + 1)
        if (staffing := erlang_c(contacts_per_second, handling_time, agents, answer_within))
        and staffing.service_level >= service_level
    )
    return next(enough)
