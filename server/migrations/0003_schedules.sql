-- When jobs start by themselves. A row for each job with a schedule.
CREATE TABLE schedules (
    job     TEXT PRIMARY KEY REFERENCES jobs (name) ON DELETE CASCADE,
    spec    TEXT    NOT NULL,            -- the schedule it was armed with; another one arms it anew
    anchor  INTEGER NOT NULL,            -- what an interval counts from
    next    INTEGER,                     -- the next nominal time; NULL: there is none
    due     INTEGER,                     -- the same, put off by its jitter
    start   INTEGER NOT NULL DEFAULT 0,  -- 1: a run is due whatever the time
    skipped INTEGER NOT NULL DEFAULT 0   -- nominal times that started no run
) WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (due) WHERE due IS NOT NULL;
CREATE INDEX schedules_start ON schedules (job) WHERE start = 1;

ALTER TABLE runs ADD COLUMN nominal INTEGER;  -- the nominal time that started it
CREATE UNIQUE INDEX runs_nominal ON runs (job, nominal) WHERE nominal IS NOT NULL;
