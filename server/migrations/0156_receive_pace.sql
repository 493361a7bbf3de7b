-- How often messages are received (`plan::pace`).
ALTER TABLE watches ADD COLUMN received REAL NOT NULL DEFAULT 0;
ALTER TABLE watches ADD COLUMN received_at INTEGER NOT NULL DEFAULT 0;
