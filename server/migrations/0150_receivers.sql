-- Several may receive from one queue. A receiver is the work to do so, leased as ranges are; what is known of the queue stays in
-- its watch.
CREATE TABLE receivers (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    queue          TEXT    NOT NULL,
    state          INTEGER NOT NULL DEFAULT 0,  -- 0 ready, 1 leased
    epoch          INTEGER NOT NULL DEFAULT 0,
    session        INTEGER,
    lease_sequence INTEGER NOT NULL DEFAULT 0,
    attempts       INTEGER NOT NULL DEFAULT 0,  -- errors reported since something was last told
    not_before     INTEGER NOT NULL DEFAULT 0,
    refused_by     TEXT,
    refused_until  INTEGER NOT NULL DEFAULT 0,
    failed_by      TEXT,                        -- the agent that gave it back with an error last
    failed_until   INTEGER NOT NULL DEFAULT 0,  -- until then others are preferred
    reason         TEXT    NOT NULL DEFAULT '', -- why nobody does it
    told           INTEGER,                     -- all that its holder received until then was told
    oldest_sent    INTEGER                      -- when the oldest message it received last was sent
);
CREATE INDEX receivers_of_queue ON receivers (queue, id);
CREATE INDEX receivers_leased ON receivers (session) WHERE state = 1;
-- Their numbers go on where those of watches ended, above every range's: what is held says which of the two it is.
INSERT INTO sqlite_sequence (name, seq) SELECT 'receivers', seq FROM sqlite_sequence WHERE name = 'watches';
INSERT INTO receivers (id, queue, state, epoch, session, lease_sequence, attempts, not_before, refused_by, refused_until,
                       reason, told)
    SELECT id, queue, state, epoch, session, lease_sequence, attempts, not_before, refused_by, refused_until, reason, told
    FROM watches;
DROP INDEX watches_leased;
ALTER TABLE watches DROP COLUMN state;
ALTER TABLE watches DROP COLUMN epoch;
ALTER TABLE watches DROP COLUMN session;
ALTER TABLE watches DROP COLUMN lease_sequence;
ALTER TABLE watches DROP COLUMN attempts;
ALTER TABLE watches DROP COLUMN not_before;
ALTER TABLE watches DROP COLUMN refused_by;
ALTER TABLE watches DROP COLUMN refused_until;
ALTER TABLE watches DROP COLUMN reason;
