-- Customers who are forgotten: how far it is, so that what was interrupted is finished, and what was purged.
CREATE TABLE kehu.erasures (
    customer_id text COLLATE "C" PRIMARY KEY,
    reason text NOT NULL,                         -- as told: the id of a request, and nothing personal
    erased_by text NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    position bigint,                              -- of customer.erased; with it the key was destroyed
    purged jsonb NOT NULL DEFAULT '{}',           -- step -> what was purged
    ended_at timestamptz
);

-- What waits or died is found by its customer; what a former release kept in the clear by its key.
CREATE INDEX dead_letters_hidden_idx ON kehu.dead_letters (hidden_for) WHERE hidden_for IS NOT NULL;
CREATE INDEX parked_hidden_idx ON kehu.parked (hidden_for);
CREATE INDEX dead_letters_clear_idx ON kehu.dead_letters (key) WHERE hidden_for IS NULL AND octet_length(key) <= 64;
