-- Uploads that ranges left open when they were given up; the job's next run over all keys takes them along.
CREATE TABLE left_uploads (
    job       TEXT    NOT NULL REFERENCES jobs (name) ON DELETE CASCADE,
    place     TEXT    NOT NULL,                 -- the destination, as `run_destinations` names it
    key       BLOB    NOT NULL,
    upload_id TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    plan      TEXT,
    PRIMARY KEY (job, place, key, upload_id)
) WITHOUT ROWID;
