-- Deletes by events. A key that was found at the destination and not at the source by a look waits in its pool until the
-- guard or a person lets it be deleted; then it is work of another kind. Keys that wait are never due.
ALTER TABLE pending_keys ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;  -- 0 to look at, 1 waits, 2 may be deleted
ALTER TABLE pending_keys ADD COLUMN held INTEGER NOT NULL DEFAULT 0;  -- when it was found to be gone
CREATE INDEX pending_keys_held ON pending_keys (pool, held, key) WHERE gone = 1;

-- Pools of events whose deletes wait for a person, and why; an empty reason: they were approved as shown under this etag.
CREATE TABLE event_guards (
    pool     INTEGER PRIMARY KEY REFERENCES pools (id) ON DELETE CASCADE,
    reason   TEXT NOT NULL,
    approved TEXT NOT NULL DEFAULT ''
);

-- Deletes by events that the guard let pass, by the minute: of a job and place, whichever run they were of.
CREATE TABLE event_deletes (
    job    TEXT    NOT NULL REFERENCES jobs (name) ON DELETE CASCADE,
    place  TEXT    NOT NULL,
    minute INTEGER NOT NULL,
    keys   INTEGER NOT NULL,
    PRIMARY KEY (job, place, minute)
) WITHOUT ROWID;
