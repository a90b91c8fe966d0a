"""Dead letters as an operator sees them: what is kept of them is encrypted."""

from typing import Any

from infra.cli.servers import connected
from infra.postgres.dead_letters import get_dead_letters


def dead_letters(database: str) -> list[dict[str, Any]]:
    """All of them by their ids, with key, value and headers as they came."""
    with connected(database) as conn:
        ids = [row["id"] for row in conn.execute("SELECT id FROM kehu.dead_letters").fetchall()]
        return get_dead_letters(conn, ids)
