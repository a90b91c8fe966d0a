-- The former release counted processes.
ALTER TABLE kehu.attempts DROP COLUMN unclean;
