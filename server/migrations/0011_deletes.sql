-- Guarded deletes of jobs that mirror: what a run counted, and where it stands with it.
CREATE TABLE run_deletes (
    run      INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    stage    TEXT    NOT NULL,             -- asking, deleting or counting; a run without a row scans
    review   TEXT    NOT NULL,             -- what was counted last, as it is shown
    recounts INTEGER NOT NULL DEFAULT 0,   -- how often it counted anew, since there was more than was passed
    approved INTEGER NOT NULL DEFAULT 0    -- 1: by a person
);

-- Some of the keys that were counted, to be shown.
CREATE TABLE delete_samples (
    run         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    destination INTEGER NOT NULL,
    key         BLOB    NOT NULL,
    PRIMARY KEY (run, destination, key)
) WITHOUT ROWID;

ALTER TABLE ranges ADD COLUMN mode INTEGER NOT NULL DEFAULT 0;    -- 0 scan, 1 only count what to delete, 2 delete
ALTER TABLE ranges ADD COLUMN extra INTEGER NOT NULL DEFAULT 0;   -- keys to delete, as counted last
ALTER TABLE ranges ADD COLUMN budget INTEGER NOT NULL DEFAULT 0;  -- keys that may still be named to be deleted
ALTER TABLE ranges ADD COLUMN deleting BLOB;                      -- keys above the cursor that were named
