-- The first schema. Times are microseconds since 1970; keys are bytes; settings are JSON of the domain types.

CREATE TABLE meta (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation TEXT    NOT NULL,
    revision    INTEGER NOT NULL DEFAULT 0,   -- grows with each change of a run
    catalogue   INTEGER NOT NULL DEFAULT 0    -- grows with each change of an endpoint or job
);

CREATE TABLE endpoints (
    name    TEXT PRIMARY KEY,
    spec    TEXT    NOT NULL,
    etag    TEXT    NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE jobs (
    name       TEXT PRIMARY KEY,
    uid        TEXT    NOT NULL,
    spec       TEXT    NOT NULL,
    etag       TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    updated    INTEGER NOT NULL,
    last_run   INTEGER NOT NULL DEFAULT 0     -- number of the newest run
) WITHOUT ROWID;

CREATE TABLE runs (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    job             TEXT    NOT NULL,
    number          INTEGER NOT NULL,
    state           TEXT    NOT NULL,
    reason          TEXT    NOT NULL DEFAULT '',
    trigger         TEXT    NOT NULL,
    generation      INTEGER NOT NULL,
    traceparent     TEXT    NOT NULL,
    created         INTEGER NOT NULL,
    started         INTEGER,
    ended           INTEGER,
    revision        INTEGER NOT NULL,
    listed_failures INTEGER NOT NULL DEFAULT 0,
    failed_ranges   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (job, number)
);
CREATE INDEX runs_by_revision ON runs (revision);
CREATE INDEX runs_by_job ON runs (job, id);
-- At most one run of a job at a time, whoever tries.
CREATE UNIQUE INDEX runs_active ON runs (job) WHERE ended IS NULL;

-- What a run started with. Apart from the run's row, which is rewritten with every report.
CREATE TABLE run_specs (
    run       INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    spec      TEXT NOT NULL,
    endpoints TEXT NOT NULL
);

CREATE TABLE run_destinations (
    run         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    destination INTEGER NOT NULL,
    counters    TEXT    NOT NULL,
    done_ranges INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, destination)
) WITHOUT ROWID;

CREATE TABLE ranges (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    run            INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    destination    INTEGER NOT NULL,
    after          BLOB,                        -- begins after this key; NULL: at the very first
    until          BLOB,                        -- ends with this key; NULL: at the end
    cursor         BLOB,                        -- everything up to this key is done
    state          INTEGER NOT NULL DEFAULT 0,  -- 0 ready, 1 leased, 2 done, 3 given up
    epoch          INTEGER NOT NULL DEFAULT 0,
    session        INTEGER,
    leased_at      INTEGER,
    lease_sequence INTEGER NOT NULL DEFAULT 0,  -- state of the session that was answered last when it was leased
    attempts       INTEGER NOT NULL DEFAULT 0,  -- errors reported
    lost           INTEGER NOT NULL DEFAULT 0,  -- holders that died
    not_before     INTEGER NOT NULL DEFAULT 0,
    refused_by     TEXT,
    refused_until  INTEGER NOT NULL DEFAULT 0,
    reap           INTEGER NOT NULL DEFAULT 0   -- 1: leased only to abort its uploads, whose reports know no cursor
);
CREATE INDEX ranges_of_run ON ranges (run, destination, state);
CREATE INDEX ranges_open ON ranges (run) WHERE state < 2;
CREATE INDEX ranges_ready ON ranges (not_before) WHERE state = 0;
CREATE INDEX ranges_leased ON ranges (session) WHERE state = 1;

CREATE TABLE failures (
    run           INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    destination   INTEGER NOT NULL,
    key           BLOB    NOT NULL,
    class         TEXT    NOT NULL,
    code          TEXT    NOT NULL,
    message       TEXT    NOT NULL,
    s3_request_id TEXT    NOT NULL,
    attempts      INTEGER NOT NULL,
    first         INTEGER NOT NULL,
    last          INTEGER NOT NULL,
    PRIMARY KEY (run, destination, key)
) WITHOUT ROWID;

CREATE TABLE agents (
    name      TEXT PRIMARY KEY,
    labels    TEXT    NOT NULL,
    endpoints TEXT    NOT NULL,
    features  TEXT    NOT NULL,
    version   TEXT    NOT NULL,
    capacity  INTEGER NOT NULL,
    draining  INTEGER NOT NULL DEFAULT 0,
    last_seen INTEGER NOT NULL,
    connected INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE sessions (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    agent    TEXT    NOT NULL UNIQUE,
    instance TEXT    NOT NULL,
    until    INTEGER NOT NULL,
    answered INTEGER NOT NULL DEFAULT 0         -- newest state that was answered
);

CREATE TABLE request_ids (
    method      TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    resource    TEXT    NOT NULL,
    expires     INTEGER NOT NULL,
    PRIMARY KEY (method, id)
) WITHOUT ROWID;
CREATE INDEX request_ids_expiry ON request_ids (expires);

-- Several of one key when an upload was given up and another begun.
CREATE TABLE upload_intents (
    range     INTEGER NOT NULL REFERENCES ranges (id) ON DELETE CASCADE,
    key       BLOB    NOT NULL,
    upload_id TEXT    NOT NULL,                 -- empty: not known; the key's uploads since `at` are meant
    at        INTEGER NOT NULL,
    PRIMARY KEY (range, key, upload_id)
) WITHOUT ROWID;

CREATE TABLE bucket_facts (
    endpoint TEXT NOT NULL,
    bucket   TEXT NOT NULL,
    facts    TEXT NOT NULL,
    PRIMARY KEY (endpoint, bucket)
) WITHOUT ROWID;

-- Where the last run's ranges of a destination were cut; the next run begins with these.
CREATE TABLE boundaries (
    job         TEXT NOT NULL,
    destination TEXT NOT NULL,
    key         BLOB NOT NULL,
    PRIMARY KEY (job, destination, key)
) WITHOUT ROWID;
