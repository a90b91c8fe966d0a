-- Personal data is encrypted under one data key per customer; whoever is forgotten has none any more.
CREATE TABLE kehu.data_keys (
    customer_id text COLLATE "C" PRIMARY KEY,     -- `kehu system`: what cannot be read, so that nobody knows whose it is
    master text,                                  -- the id of the master key that wraps it; NULL: destroyed
    wrapped bytea,                                -- NULL: destroyed
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    erased_at timestamptz,
    CHECK ((wrapped IS NULL) = (erased_at IS NOT NULL))
);
CREATE INDEX data_keys_master_idx ON kehu.data_keys (master);

-- How often a key was destroyed: whoever remembers keys forgets them when this has moved.
CREATE TABLE kehu.key_epoch (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    n bigint NOT NULL
);
INSERT INTO kehu.key_epoch (n) VALUES (0);

-- Under whose key the value and the header values of a message, or a snapshot, are encrypted; NULL: they are not.
ALTER TABLE kehu.parked ADD COLUMN hidden_for text;
ALTER TABLE kehu.dead_letters ADD COLUMN hidden_for text;
ALTER TABLE kehu.snapshots ADD COLUMN hidden_for text;

-- The log as an auditor reads it: which personal fields an event says, without what they say.
CREATE OR REPLACE VIEW kehu.event_log AS
SELECT notification_id AS position, recorded_at, originator_id AS stream, originator_version AS version, topic AS type,
       customer_id, convert_from(state, 'UTF8')::jsonb -> 'meta' AS meta, convert_from(state, 'UTF8')::jsonb -> 'data' AS data,
       convert_from(state, 'UTF8')::jsonb -> 'hidden' -> 'fields' AS hidden
FROM kehu.stored_events;
