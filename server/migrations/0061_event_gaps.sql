-- Events are missing, until a scan has looked at everything.
ALTER TABLE job_events ADD COLUMN gap INTEGER;                         -- since when; NULL: none are
ALTER TABLE job_events ADD COLUMN gap_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE job_events ADD COLUMN scan INTEGER;                        -- the run that looks at everything
ALTER TABLE job_events ADD COLUMN scan_after INTEGER NOT NULL DEFAULT 0;  -- not before this it begins
CREATE INDEX job_events_gaps ON job_events (scan_after) WHERE gap IS NOT NULL AND scan IS NULL;
