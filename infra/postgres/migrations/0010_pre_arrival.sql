-- Where the message of an inbox entry arrived, and the version of its first event. Rows of former releases have neither.
ALTER TABLE kehu.positions ADD COLUMN place integer GENERATED ALWAYS AS IDENTITY UNIQUE;
ALTER TABLE kehu.inbox
    ADD COLUMN place integer,                     -- of kehu.positions
    ADD COLUMN kafka_offset bigint,
    ADD COLUMN version integer;                   -- NULL beside a place: it said nothing new

-- A waiting message is found by its key in the inbox to come.
ALTER TABLE kehu.parked ADD COLUMN identity bytea;
CREATE INDEX parked_identity_idx ON kehu.parked (identity);
