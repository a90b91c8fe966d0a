-- What the owner of a partition has in work, so that after its end only that is suspect: see consumers/ingest.py.
ALTER TABLE kehu.attempts
    ADD COLUMN in_work integer NOT NULL DEFAULT 4000,  -- messages from next_offset on
    ADD COLUMN suspects integer NOT NULL DEFAULT 0;    -- of these, what a process before it had in work when it ended
