-- The trace of the newest event that told of a key: whoever looks at the key goes on with it. NULL: none, or no event did.
ALTER TABLE pending_keys ADD COLUMN traceparent TEXT;
