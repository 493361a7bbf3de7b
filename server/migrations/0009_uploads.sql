-- What an upload is to become, so that another agent can go on with it. JSON; NULL: it can only be aborted.
ALTER TABLE upload_intents ADD COLUMN plan TEXT;
