-- What is counted of a job over all its runs, also those that are not kept any longer: for metrics.
CREATE TABLE figures (
    job         TEXT    NOT NULL REFERENCES jobs (name) ON DELETE CASCADE,
    destination TEXT    NOT NULL,            -- endpoint, bucket and prefix
    counters    TEXT    NOT NULL DEFAULT '{}',
    lost        INTEGER NOT NULL DEFAULT 0,  -- assignments whose holder died
    in_step     INTEGER,                     -- when the newest scan began that left nothing out of step; NULL: none has
    since       INTEGER NOT NULL,            -- since when the job looks at what it looks at now
    PRIMARY KEY (job, destination)
) WITHOUT ROWID;

CREATE TABLE run_outcomes (
    job   TEXT    NOT NULL REFERENCES jobs (name) ON DELETE CASCADE,
    state TEXT    NOT NULL,
    runs  INTEGER NOT NULL,
    PRIMARY KEY (job, state)
) WITHOUT ROWID;

-- Since when all changes come as events; a scan that began before says nothing of what was not told.
ALTER TABLE job_events ADD COLUMN since INTEGER NOT NULL DEFAULT 9223372036854775807;

ALTER TABLE run_destinations ADD COLUMN place TEXT NOT NULL DEFAULT '';  -- the destination, as `figures` names it
