-- Where rows of read models were before: whoever may see rows of some branches and segments only is told that a row has
-- left them. Kept as long as the keys of dropped rows.
CREATE TABLE kehu.places (
    build text NOT NULL,                          -- the schema of the build
    table_name text NOT NULL,
    key text NOT NULL,                            -- as the change feed writes it
    left_at timestamptz NOT NULL,                 -- changed_at of the row when it had moved or was dropped
    branch text,
    segment text,
    PRIMARY KEY (build, table_name, key, left_at)
);
CREATE INDEX places_left_at_idx ON kehu.places (build, table_name, left_at);

-- Notes the place that a row leaves; its arguments are the columns of the key.
CREATE FUNCTION kehu.note_place() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was jsonb := to_jsonb(OLD);
BEGIN
    INSERT INTO kehu.places (build, table_name, key, left_at, branch, segment) VALUES (
        TG_TABLE_SCHEMA,
        TG_TABLE_NAME,
        CASE WHEN TG_NARGS = 1 THEN was ->> TG_ARGV[0]
            ELSE (SELECT json_agg(was ->> name)::text FROM unnest(TG_ARGV) AS name) END,
        NEW.changed_at,
        OLD.branch,
        OLD.segment
    ) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
