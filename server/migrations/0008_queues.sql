-- Queues of S3 events.
CREATE TABLE queues (
    name    TEXT PRIMARY KEY,
    spec    TEXT    NOT NULL,
    etag    TEXT    NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) WITHOUT ROWID;
