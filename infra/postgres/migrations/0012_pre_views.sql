-- What is published of the read models: a build is known by a number that never comes again, and each view has a mark.
ALTER TABLE kehu.projection_builds ADD COLUMN serial bigint GENERATED ALWAYS AS IDENTITY;

CREATE TABLE kehu.view_marks (
    view text PRIMARY KEY,
    topic_id text NOT NULL,                       -- of the topic that has what was published
    epoch bigint NOT NULL,                        -- how often publishing began with a comparison or with everything
    token text,                                   -- everything up to here is acknowledged; NULL: nothing of this epoch
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
