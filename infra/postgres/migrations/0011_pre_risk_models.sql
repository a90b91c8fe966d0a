-- Models of retention risk beside those of the release, who promoted which when and why, and which model a build is
-- scored by: NULL is the scorecard without labels of the release.
CREATE TABLE kehu.risk_models (
    id text PRIMARY KEY,                          -- name.version
    document text NOT NULL,                       -- as `kehu risk train` wrote it
    added_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE kehu.risk_promotions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    former text NOT NULL,
    promoted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    promoted_by text NOT NULL,
    reason text NOT NULL
);
ALTER TABLE kehu.projection_builds ADD COLUMN model text;
