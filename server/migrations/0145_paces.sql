-- How often something happens (`plan::pace`): events that told of a pool's keys, and looks at these.
ALTER TABLE pools ADD COLUMN told REAL NOT NULL DEFAULT 0;
ALTER TABLE pools ADD COLUMN told_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pools ADD COLUMN settled REAL NOT NULL DEFAULT 0;
ALTER TABLE pools ADD COLUMN settled_at INTEGER NOT NULL DEFAULT 0;
