-- Keys to look at again by name. A pool holds those of one destination of a run; key works, which are rows of `ranges`
-- with a pool, take keys out of it when they are leased and give back what they did not settle.
CREATE TABLE pools (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    run         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    destination INTEGER NOT NULL,
    UNIQUE (run, destination)
);

CREATE TABLE pending_keys (
    pool       INTEGER NOT NULL REFERENCES pools (id) ON DELETE CASCADE,
    key        BLOB    NOT NULL,
    generation INTEGER NOT NULL DEFAULT 1,  -- grows with each reason to look at the key again
    work       INTEGER,                     -- the key work that has it; NULL: free
    taken      INTEGER,                     -- the generation it was taken with
    lost       INTEGER NOT NULL DEFAULT 0,  -- holders that died with it
    attempts   INTEGER NOT NULL DEFAULT 0,  -- how often it failed before
    first      INTEGER NOT NULL,            -- when it first failed
    PRIMARY KEY (pool, key)
) WITHOUT ROWID;
CREATE INDEX pending_keys_free ON pending_keys (pool, lost, key) WHERE work IS NULL;
CREATE INDEX pending_keys_taken ON pending_keys (work, key) WHERE work IS NOT NULL;

ALTER TABLE ranges ADD COLUMN pool INTEGER;  -- of a key work
CREATE INDEX ranges_of_pool ON ranges (pool) WHERE pool IS NOT NULL;
