-- The Merkle tree over the log, in tiles of 256 hashes, and the signed heads of its sizes. See docs/adr/0018.
CREATE TABLE kehu.proof_tiles (
    level smallint NOT NULL,                      -- hashes of complete subtrees over 256^level leaves
    number bigint NOT NULL,                       -- of the tile on its level
    hashes bytea STORAGE EXTERNAL NOT NULL,       -- up to 256 hashes of 32 bytes; only the last tile of a level grows
    PRIMARY KEY (level, number)
);
CREATE TABLE kehu.tree_heads (
    size bigint PRIMARY KEY,                      -- the events at positions 1 to size
    root bytea NOT NULL,
    sealed_at timestamptz NOT NULL,
    key_id text NOT NULL,
    signature bytea NOT NULL
);
-- A head is never changed, not by its owner either. Whoever takes the trigger away is found by the heads outside.
CREATE FUNCTION kehu.heads_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'heads of the tree are never changed or removed' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER heads_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON kehu.tree_heads
    FOR EACH STATEMENT EXECUTE FUNCTION kehu.heads_are_kept();
-- How far the heads are told to each place outside.
CREATE TABLE kehu.anchors (
    name text PRIMARY KEY,
    size bigint NOT NULL
);
