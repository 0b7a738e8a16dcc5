-- By what names are compared, and an application's own ids for its users. The keys are computed by the program: rows from
-- before have none until it starts, or until the next name is set. Names from before may share a key; no two that are set from
-- now on do, which writers see to.

ALTER TABLE users ADD COLUMN name_key TEXT;
ALTER TABLE users ADD COLUMN name_look TEXT;
ALTER TABLE users ADD COLUMN external_id TEXT;

CREATE INDEX users_name_key ON users (name_key) WHERE name_key IS NOT NULL;
CREATE INDEX users_name_look ON users (name_look) WHERE name_look IS NOT NULL;
CREATE INDEX users_without_key ON users (pk) WHERE name_key IS NULL;
CREATE UNIQUE INDEX users_external_id ON users (external_id) WHERE external_id IS NOT NULL;

-- A program that knows no keys gives a user another name and leaves the keys of the one before: then they are forgotten, and
-- computed anew.
CREATE TRIGGER users_renamed AFTER UPDATE OF username ON users
WHEN NEW.username <> OLD.username AND NEW.name_key IS OLD.name_key
BEGIN
    UPDATE users SET name_key = NULL, name_look = NULL WHERE pk = NEW.pk;
END;
