-- How many bytes a user has stored on the day, counted in days since 1970, on which it last stored something. Filled where a
-- quota is set.

CREATE TABLE stored_bytes (
    user_pk INTEGER PRIMARY KEY REFERENCES users (pk),
    day     INTEGER NOT NULL,
    bytes   INTEGER NOT NULL
) STRICT;
