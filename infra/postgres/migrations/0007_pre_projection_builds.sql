-- A projection is built beside its live view: several builds, one of them live. `kehu.projections` shows the live ones.
ALTER TABLE kehu.projections RENAME TO projection_builds;
ALTER TABLE kehu.projection_builds
    ADD COLUMN build integer NOT NULL DEFAULT 1,
    ADD COLUMN state text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'candidate', 'former')),
    ADD COLUMN paused boolean NOT NULL DEFAULT false,
    ADD COLUMN counted_from bigint,               -- what was folded after this position is in projection_folds
    DROP CONSTRAINT projections_pkey,
    ADD PRIMARY KEY (name, version, build),
    ADD UNIQUE (name, state) DEFERRABLE;          -- a switch swaps two states in one statement

CREATE VIEW kehu.projections AS
SELECT name, version, build, position, error, paused, counted_from, updated_at
FROM kehu.projection_builds WHERE state = 'live';

-- What a build folded, per range of positions: how many events, and the sum of their digests.
CREATE TABLE kehu.projection_folds (
    name text NOT NULL,
    version integer NOT NULL,
    build integer NOT NULL,
    range_start bigint NOT NULL,
    events bigint NOT NULL,
    digest bigint NOT NULL,
    PRIMARY KEY (name, version, build, range_start),
    FOREIGN KEY (name, version, build) REFERENCES kehu.projection_builds ON DELETE CASCADE
);
