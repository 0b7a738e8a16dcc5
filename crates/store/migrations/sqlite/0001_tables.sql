-- Times are milliseconds since 1970, UTC. Ids are the 16 bytes of a UUID; `pk` is an integer that never leaves the store.

CREATE TABLE installation (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    epoch      TEXT NOT NULL,
    user_key   TEXT NOT NULL,
    client_key TEXT NOT NULL
) STRICT;

CREATE TABLE users (
    pk         INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE,
    username   TEXT NOT NULL UNIQUE,
    role       TEXT NOT NULL,
    disabled   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
    pk          INTEGER PRIMARY KEY,
    id          BLOB NOT NULL UNIQUE,
    kind        TEXT NOT NULL,
    user_pk     INTEGER NOT NULL REFERENCES users (pk),
    parent_pk   INTEGER REFERENCES tokens (pk),
    permissions TEXT NOT NULL,
    email       TEXT,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    revoked_at  INTEGER
) STRICT;
CREATE INDEX tokens_parent ON tokens (parent_pk) WHERE parent_pk IS NOT NULL;
CREATE INDEX tokens_client ON tokens (user_pk) WHERE kind = 'CLIENT';

CREATE TABLE rooms (
    pk            INTEGER PRIMARY KEY,
    id            BLOB NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    owner_pk      INTEGER NOT NULL REFERENCES users (pk),
    seq           INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    member_count  INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE members (
    room_pk    INTEGER NOT NULL REFERENCES rooms (pk),
    user_pk    INTEGER NOT NULL REFERENCES users (pk),
    joined_seq INTEGER NOT NULL,
    PRIMARY KEY (user_pk, room_pk)
) STRICT;
CREATE UNIQUE INDEX members_joined ON members (room_pk, joined_seq);

-- An event of a room is either here or in `room_events`; both count with the room's `seq`.
CREATE TABLE messages (
    pk                INTEGER PRIMARY KEY,
    id                BLOB NOT NULL UNIQUE,
    room_pk           INTEGER NOT NULL REFERENCES rooms (pk),
    seq               INTEGER NOT NULL,
    user_pk           INTEGER NOT NULL REFERENCES users (pk),
    content           TEXT NOT NULL,
    client_message_id TEXT,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX messages_seq ON messages (room_pk, seq);
CREATE INDEX messages_author ON messages (user_pk, pk);
CREATE UNIQUE INDEX messages_client_id ON messages (user_pk, room_pk, client_message_id) WHERE client_message_id IS NOT NULL;

CREATE TABLE room_events (
    room_pk INTEGER NOT NULL REFERENCES rooms (pk),
    seq     INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    user_pk INTEGER NOT NULL REFERENCES users (pk),
    by_pk   INTEGER NOT NULL REFERENCES users (pk),
    at      INTEGER NOT NULL,
    PRIMARY KEY (room_pk, seq)
) STRICT;

CREATE TABLE control_log (
    position INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,
    subject  BLOB NOT NULL,
    at       INTEGER NOT NULL
) STRICT;

-- The newest position of the control log, in one row.
CREATE TABLE control_head (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL
) STRICT;
INSERT INTO control_head (one, position) VALUES (1, 0);

CREATE TABLE idempotency (
    key     BLOB PRIMARY KEY,
    body    BLOB NOT NULL,
    outcome TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_at ON idempotency (at);
