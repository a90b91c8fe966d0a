-- The former release gave every waiting message a next try, and looked through all of them.
DROP INDEX kehu.parked_due_idx;
UPDATE kehu.parked p SET next_try_at = NULL
WHERE EXISTS (SELECT FROM kehu.parked older WHERE older.stream = p.stream AND older.seq < p.seq);
