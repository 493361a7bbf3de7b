-- Calls that asked for a change. Written before the change, and completed after it.
CREATE TABLE audit (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    caller   TEXT    NOT NULL,
    peer     TEXT    NOT NULL,
    method   TEXT    NOT NULL,
    resource TEXT    NOT NULL,
    request  TEXT    NOT NULL,
    outcome  INTEGER NOT NULL DEFAULT 0,  -- 0 not known, 1 done, 2 refused
    reason   TEXT    NOT NULL DEFAULT '',
    ended    INTEGER
);
CREATE INDEX audit_by_resource ON audit (resource, number);
