-- Rises with each switch, also with one back to a former build: which of two messages about a row is the newer one.
ALTER TABLE kehu.projection_builds ADD COLUMN live_since timestamptz NOT NULL DEFAULT clock_timestamp();

-- Who is told by HTTP what changed in a view, how far each is, and what none of them took.
CREATE TABLE kehu.webhooks (
    name text PRIMARY KEY,
    url text NOT NULL,
    view text NOT NULL,
    segments text[],                              -- only rows of these; NULL for all
    secret text NOT NULL,
    former_secret text,                           -- signs, too, until former_until
    former_until timestamptz,
    paused text,                                  -- why it rests; NULL while it is told
    token text,                                   -- it took everything up to here; NULL: everything comes
    after_position bigint NOT NULL DEFAULT 0,     -- of everything, only rows with a later position
    delivered bigint NOT NULL DEFAULT 0,          -- events that it took
    delivered_at timestamptz,
    attempts int NOT NULL DEFAULT 0,              -- that failed since the last one that did not
    next_at timestamptz,                          -- not before then
    error text,
    added_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE kehu.webhook_keys (
    webhook text NOT NULL REFERENCES kehu.webhooks ON DELETE CASCADE,
    key text NOT NULL,                            -- of a row that it has; kept only where segments are chosen
    PRIMARY KEY (webhook, key)
);
CREATE TABLE kehu.webhook_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook text NOT NULL REFERENCES kehu.webhooks ON DELETE CASCADE,
    keys text[] NOT NULL,                         -- of the rows that it did not take; what they hold now is sent again
    error text NOT NULL,
    attempts int NOT NULL,
    again boolean NOT NULL DEFAULT false,         -- to be sent again
    given_up_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
