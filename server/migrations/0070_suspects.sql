-- Which key of a range kills agents: the only one its careful holder works on, and how many died with it.
ALTER TABLE ranges ADD COLUMN suspect BLOB;
ALTER TABLE ranges ADD COLUMN suspect_lost INTEGER NOT NULL DEFAULT 0;
