-- What waits behind others has no next try: only the oldest message of a queue has one, and is found by it.
ALTER TABLE kehu.parked ALTER COLUMN next_try_at DROP NOT NULL;
CREATE INDEX parked_next_idx ON kehu.parked (topic_id, partition, least(next_try_at, expires_at));
