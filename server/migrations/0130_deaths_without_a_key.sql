-- Holders of careful work that died before they had named a key. `suspect_epoch`: which holder named the suspect.
ALTER TABLE ranges ADD COLUMN suspect_epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ranges ADD COLUMN unnamed_lost INTEGER NOT NULL DEFAULT 0;
