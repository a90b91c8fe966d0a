-- A dead letter whose event was corrected and published again says under which id.
ALTER TABLE kehu.dead_letters ADD COLUMN repaired_as text;
