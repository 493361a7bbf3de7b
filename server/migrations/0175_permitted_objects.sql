-- Which object a key that is gone stands for at the destination, and when its delete was let pass: it is counted once, whoever
-- dies and however often an event comes.
ALTER TABLE pending_keys ADD COLUMN object TEXT NOT NULL DEFAULT '';   -- as the last look told; empty: not known
ALTER TABLE pending_keys ADD COLUMN passed INTEGER NOT NULL DEFAULT 0; -- when its delete was; 0: never
UPDATE pending_keys SET passed = held WHERE gone = 2;
CREATE INDEX pending_keys_passed ON pending_keys (pool, passed) WHERE gone = 2;
