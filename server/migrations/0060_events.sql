-- Events of source buckets. A watch is the work to receive from one queue: a row for each queue that a job names, leased
-- as ranges are.
CREATE TABLE watches (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    queue          TEXT    NOT NULL UNIQUE,
    state          INTEGER NOT NULL DEFAULT 0,  -- 0 ready, 1 leased
    epoch          INTEGER NOT NULL DEFAULT 0,
    session        INTEGER,
    lease_sequence INTEGER NOT NULL DEFAULT 0,
    attempts       INTEGER NOT NULL DEFAULT 0,  -- errors reported since something was last received
    not_before     INTEGER NOT NULL DEFAULT 0,
    refused_by     TEXT,
    refused_until  INTEGER NOT NULL DEFAULT 0,
    reason         TEXT    NOT NULL DEFAULT '', -- why nothing is received
    told           INTEGER,                     -- when the holder told of the queue last
    queue_state    TEXT    NOT NULL DEFAULT '{}',
    messages       INTEGER NOT NULL DEFAULT 0,
    events         INTEGER NOT NULL DEFAULT 0,  -- that concern a job
    ignored        INTEGER NOT NULL DEFAULT 0,  -- of kinds that change nothing
    unmatched      INTEGER NOT NULL DEFAULT 0,  -- that concern no job
    unreadable     INTEGER NOT NULL DEFAULT 0   -- messages that could not be read
);
CREATE INDEX watches_leased ON watches (session) WHERE state = 1;
-- Above every range's number, so that the number of what is held tells which of the two it is.
INSERT INTO sqlite_sequence (name, seq) VALUES ('watches', 4503599627370496);

-- The last few messages that could not be read.
CREATE TABLE unreadable_messages (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    queue   TEXT    NOT NULL,
    message TEXT    NOT NULL
);
CREATE INDEX unreadable_messages_of_queue ON unreadable_messages (queue, id);

-- Jobs that follow events, and the run in which these are worked off. At most one of a job takes new events; earlier
-- ones end when what they hold is done.
CREATE TABLE job_events (
    job         TEXT PRIMARY KEY REFERENCES jobs (name) ON DELETE CASCADE,
    queue       TEXT    NOT NULL,
    run         INTEGER,
    generation  INTEGER NOT NULL DEFAULT 0,  -- of the job, with which the run works
    events      INTEGER NOT NULL DEFAULT 0,
    lost        INTEGER NOT NULL DEFAULT 0,  -- objects that S3 says it lost
    last_lost   BLOB
) WITHOUT ROWID;
CREATE INDEX job_events_of_queue ON job_events (queue);

DROP INDEX runs_active;
-- At most one run of a job at a time, whoever tries; the run of its events goes on beside it.
CREATE UNIQUE INDEX runs_active ON runs (job) WHERE ended IS NULL AND trigger <> 'events';
CREATE INDEX runs_of_events ON runs (job) WHERE ended IS NULL AND trigger = 'events';

ALTER TABLE pools ADD COLUMN open INTEGER NOT NULL DEFAULT 0;  -- keys in it, of the run of events
ALTER TABLE pending_keys ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pending_keys ADD COLUMN looks INTEGER NOT NULL DEFAULT 0;      -- that failed and were put off
ALTER TABLE pending_keys ADD COLUMN latest INTEGER NOT NULL DEFAULT 0;     -- the newest reason to look at it
ALTER TABLE pending_keys ADD COLUMN sequencer TEXT NOT NULL DEFAULT '';    -- S3's, for diagnosis
CREATE INDEX pending_keys_due ON pending_keys (pool, not_before, key) WHERE work IS NULL;
