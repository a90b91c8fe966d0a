-- The event store: the log, its counter, inbox, positions, parked messages, dead letters, and positions of projections.
CREATE SCHEMA IF NOT EXISTS kehu;

CREATE TABLE kehu.stored_events (
    originator_id text COLLATE "C" NOT NULL,      -- the stream
    originator_version bigint NOT NULL,           -- place in the stream, from 1
    topic text NOT NULL,                          -- registered name and version: complaint.opened.v1
    state bytea NOT NULL,                         -- UTF-8 JSON {"meta": …, "data": …}
    notification_id bigint NOT NULL,              -- the position: gapless, in the order of commits
    recorded_at timestamptz NOT NULL,             -- never goes back as the position goes on
    customer_id text COLLATE "C",
    PRIMARY KEY (originator_id, originator_version)
);
CREATE UNIQUE INDEX stored_events_notification_id_idx ON kehu.stored_events (notification_id);

CREATE TABLE kehu.log_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    n bigint NOT NULL,
    recorded_at timestamptz NOT NULL
);
INSERT INTO kehu.log_head (n, recorded_at) VALUES (0, '-infinity');

CREATE TABLE kehu.snapshots (
    stream text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    kind text NOT NULL,
    state bytea NOT NULL
);

CREATE TABLE kehu.inbox (
    key bytea PRIMARY KEY,                        -- digest of (source, id)
    content bytea NOT NULL,                       -- digest of what the message says
    stream text COLLATE "C" NOT NULL
);

CREATE TABLE kehu.positions (
    topic text NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL DEFAULT 0,
    appended bigint NOT NULL DEFAULT 0,
    duplicate bigint NOT NULL DEFAULT 0,
    parked bigint NOT NULL DEFAULT 0,
    dead bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic_id, partition)
);

CREATE TABLE kehu.parked (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream text COLLATE "C" NOT NULL,
    topic text NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    kafka_timestamp bigint NOT NULL,
    key bytea,
    value bytea,
    header_names text[] NOT NULL,
    header_values bytea[] NOT NULL,
    rule text NOT NULL,
    detail text NOT NULL,
    parked_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    next_try_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0
);
CREATE INDEX parked_stream_idx ON kehu.parked (stream, seq);
CREATE INDEX parked_due_idx ON kehu.parked (least(next_try_at, expires_at));

CREATE TABLE kehu.dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    topic_id text NOT NULL,
    partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    kafka_timestamp bigint NOT NULL,
    key bytea,
    value bytea,
    header_names text[] NOT NULL,
    header_values bytea[] NOT NULL,
    rule text NOT NULL,
    detail text NOT NULL,
    stream text,
    source text,
    event_id text,
    died_at timestamptz NOT NULL,
    replayed_at timestamptz
);
CREATE INDEX dead_letters_rule_idx ON kehu.dead_letters (rule, id);

CREATE TABLE kehu.projections (
    name text NOT NULL,
    version integer NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    error text,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, version)
);

-- The log as an auditor reads it.
CREATE VIEW kehu.event_log AS
SELECT notification_id AS position, recorded_at, originator_id AS stream, originator_version AS version, topic AS type,
       customer_id, convert_from(state, 'UTF8')::jsonb -> 'meta' AS meta, convert_from(state, 'UTF8')::jsonb -> 'data' AS data
FROM kehu.stored_events;
