-- What the report of a run says beyond its counters.
ALTER TABLE run_destinations ADD COLUMN usage TEXT NOT NULL DEFAULT '{}';  -- requests and waits, JSON
ALTER TABLE runs ADD COLUMN splits INTEGER NOT NULL DEFAULT 0;             -- cuts of ranges
ALTER TABLE runs ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;             -- ranges whose holder died or was cut off

-- What happened to a run. Written by triggers, so that no change of state can be forgotten, in the change's own
-- transaction and by the clock of the database.
CREATE TABLE run_timeline (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    run    INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at     INTEGER NOT NULL,
    state  TEXT,                       -- it came to stand so
    stage  TEXT,                       -- it began to do this
    agent  TEXT,                       -- this one died or was cut off
    reason TEXT NOT NULL DEFAULT ''
);
CREATE INDEX run_timeline_of_run ON run_timeline (run, id);

CREATE TRIGGER run_began AFTER INSERT ON runs BEGIN
    INSERT INTO run_timeline (run, at, state, reason)
    VALUES (NEW.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER), NEW.state, NEW.reason);
END;

-- At most 400 of a run; its end is always told.
CREATE TRIGGER run_changed AFTER UPDATE OF state ON runs
WHEN OLD.state <> NEW.state
     AND (NEW.ended IS NOT NULL OR (SELECT COUNT(*) FROM run_timeline WHERE run = NEW.id) < 399) BEGIN
    INSERT INTO run_timeline (run, at, state, reason)
    VALUES (NEW.id, CAST(unixepoch('subsec') * 1000000 AS INTEGER), NEW.state, NEW.reason);
END;

CREATE TRIGGER run_deletes_began AFTER INSERT ON run_deletes
WHEN (SELECT COUNT(*) FROM run_timeline WHERE run = NEW.run) < 300 BEGIN
    INSERT INTO run_timeline (run, at, stage)
    VALUES (NEW.run, CAST(unixepoch('subsec') * 1000000 AS INTEGER), NEW.stage);
END;

CREATE TRIGGER run_deletes_changed AFTER UPDATE OF stage ON run_deletes
WHEN OLD.stage <> NEW.stage AND (SELECT COUNT(*) FROM run_timeline WHERE run = NEW.run) < 300 BEGIN
    INSERT INTO run_timeline (run, at, stage)
    VALUES (NEW.run, CAST(unixepoch('subsec') * 1000000 AS INTEGER), NEW.stage);
END;

CREATE TRIGGER range_lost AFTER UPDATE OF lost ON ranges WHEN NEW.lost > OLD.lost BEGIN
    UPDATE runs SET losses = losses + 1 WHERE id = NEW.run;
    -- Once for all ranges that an agent loses together.
    INSERT INTO run_timeline (run, at, agent)
    SELECT NEW.run, CAST(unixepoch('subsec') * 1000000 AS INTEGER), sessions.agent FROM sessions
    WHERE sessions.id = OLD.session
      AND (SELECT COUNT(*) FROM run_timeline WHERE run = NEW.run) < 200
      AND NOT EXISTS (SELECT 1 FROM run_timeline AS same WHERE same.run = NEW.run AND same.agent = sessions.agent
                      AND same.at > CAST(unixepoch('subsec') * 1000000 AS INTEGER) - 1000000);
END;
