-- Who read personal data over HTTP: what, why and when. Rows are only added.
CREATE TABLE kehu.access_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    subject text NOT NULL,            -- whom the token speaks for
    client text,                      -- the application that asked in their name
    method text NOT NULL,
    path text NOT NULL,
    query text NOT NULL,
    purpose text,
    customer_id text,                 -- when it was one customer's data
    status smallint NOT NULL,
    position bigint,                  -- of the log, as the answer showed it
    answered_rows integer             -- NULL for an export, whose rows were not counted when it began
);
CREATE INDEX access_log_customer_idx ON kehu.access_log (customer_id, id) WHERE customer_id IS NOT NULL;
CREATE INDEX access_log_subject_idx ON kehu.access_log (subject, id);
