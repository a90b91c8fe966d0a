-- ANALYZE keeps values of a column to plan by. What is personal, or may be, must not stay there when it is erased. The
-- type stays what it was: to say it again removes what was kept, and nothing is written anew.
ALTER TABLE kehu.webhooks ALTER COLUMN error SET STATISTICS 0, ALTER COLUMN error TYPE text;
ALTER TABLE kehu.webhook_letters ALTER COLUMN error SET STATISTICS 0, ALTER COLUMN error TYPE text;
ALTER TABLE kehu.snapshots ALTER COLUMN state SET STATISTICS 0, ALTER COLUMN state TYPE bytea;
ALTER TABLE kehu.parked
    ALTER COLUMN value SET STATISTICS 0, ALTER COLUMN value TYPE bytea,
    ALTER COLUMN header_values SET STATISTICS 0, ALTER COLUMN header_values TYPE bytea[];
ALTER TABLE kehu.dead_letters
    ALTER COLUMN value SET STATISTICS 0, ALTER COLUMN value TYPE bytea,
    ALTER COLUMN header_values SET STATISTICS 0, ALTER COLUMN header_values TYPE bytea[];
