-- Where the process that owns a partition began, so that a message that ends every process is found: see consumers/ingest.py.
CREATE TABLE kehu.attempts (
    topic_id text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    worker text NOT NULL,                         -- the process, by a name that no other has
    unclean integer NOT NULL DEFAULT 0,           -- processes that began here before and never came further
    alone text[] NOT NULL DEFAULT '{}',           -- processes that worked on the message here and on nothing else
    PRIMARY KEY (topic_id, partition)
);
