"""One step after the other through the changes of a view, for whoever keeps a token and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass

from infra.postgres.changes import Feed, Live, Page, Token
from projections.views import View, microseconds


@dataclass(frozen=True, slots=True)
class Step:
    """What comes after a token."""

    page: Page
    epoch: int
    """Greater for the rows of a build that became live later."""
    begins: bool
    """Everything follows: what the reader has and is not told again until a step `ends` is gone."""
    ends: bool


def standing(view: View, live: Mapping[str, Live]) -> Live | None:
    """How the live build of a view stands; None while it is of another version than this code: it has other rows."""
    found = live.get(view.projection.name)
    return found if found is not None and found.build.version == view.projection.version else None


def behind(live: Mapping[str, Live]) -> bool:
    """Whether some read model has not come to the end of the log."""
    return any(one.build.position < one.head for one in live.values())


def newest(live: Live) -> Token:
    """The token of a reader that has all that is there."""
    return Token(live.build.serial, live.at)


def epoch_of(live: Live) -> int:
    """Microseconds since 1970 at which the live build became live."""
    return microseconds(live.since)


def step(feed: Feed, view: View, token: Token | None, live: Live, most: int) -> Step:
    """What comes after the token; without one, everything. `live` was asked for just before."""
    if token is None or not feed.follows(token, live):
        token = feed.start(view, token, live)
    whole = token.walk is not None and token.walk.former is None
    begins = token.walk is not None and whole and token.walk.after is None
    page = feed.page(view, token, live, most)
    return Step(page, epoch_of(live), begins, whole and page.token.walk is None)
