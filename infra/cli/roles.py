"""`kehu roles`: PostgreSQL roles with least rights."""

import psycopg
from psycopg.rows import dict_row

from infra.cli.output import Csv, Json, Ndjson, print_rows, say
from infra.cli.servers import Postgres
from infra.postgres import roles as roles_of


def roles(postgres: Postgres = "", as_json: Json = False, as_csv: Csv = False, as_ndjson: Ndjson = False) -> None:
    """Make the roles that are missing, grant each what its work needs and no more, and show who may do what.

    The roles have no login: grant them to users of your own. Nobody is granted to change or remove a stored event.
    Run it as the user who ran `kehu setup`, with the right to make roles; setup and rebuild keep the grants up.

    Example: kehu roles --postgres "host=db dbname=kehu user=owner"
    """
    with psycopg.connect(postgres, row_factory=dict_row) as conn, conn.transaction():
        made = roles_of.make(conn)
    rows = [
        {"role": role, "table": table, "may": ", ".join(rights).lower()}
        for role, granted in roles_of.MAY.items()
        for table, rights in granted.items()
    ]
    print_rows("Who may do what", rows, as_json, as_csv, as_ndjson, wide=("may",))
    if not (as_json or as_csv or as_ndjson):
        say(f"made: {', '.join(made) or 'none, all exist'}")
