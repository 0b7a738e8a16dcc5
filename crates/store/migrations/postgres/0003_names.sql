-- By what names are compared, and an application's own ids for its users. The keys are computed by the program: rows from
-- before have none until it starts, or until the next name is set. Names from before may share a key; no two that are set from
-- now on do, which writers see to.

ALTER TABLE users
    ADD COLUMN name_key text COLLATE "C",
    ADD COLUMN name_look text COLLATE "C",
    ADD COLUMN external_id text COLLATE "C";

CREATE INDEX users_name_key ON users (name_key) WHERE name_key IS NOT NULL;
CREATE INDEX users_name_look ON users (name_look) WHERE name_look IS NOT NULL;
CREATE INDEX users_without_key ON users (pk) WHERE name_key IS NULL;
CREATE UNIQUE INDEX users_external_id ON users (external_id) WHERE external_id IS NOT NULL;

-- A program that knows no keys gives a user another name and leaves the keys of the one before: then they are forgotten, and
-- computed anew.
CREATE FUNCTION forget_name_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.name_key := NULL;
    NEW.name_look := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER users_renamed BEFORE UPDATE OF username ON users
    FOR EACH ROW WHEN (NEW.username <> OLD.username AND NEW.name_key IS NOT DISTINCT FROM OLD.name_key)
    EXECUTE FUNCTION forget_name_keys();
