-- Dead letters are published once each, and found by the id of their event.
ALTER TABLE kehu.dead_letters ADD COLUMN published boolean NOT NULL DEFAULT false;
CREATE INDEX dead_letters_unpublished_idx ON kehu.dead_letters (id) WHERE NOT published;
CREATE INDEX dead_letters_event_idx ON kehu.dead_letters (event_id);
