-- Times are milliseconds since 1970, UTC. `pk` is an integer that never leaves the store.

CREATE TABLE installation (
    one        int PRIMARY KEY CHECK (one = 1),
    epoch      text NOT NULL,
    user_key   text NOT NULL,
    client_key text NOT NULL
);

CREATE TABLE users (
    pk         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         uuid NOT NULL UNIQUE,
    username   text COLLATE "C" NOT NULL UNIQUE,
    role       text NOT NULL,
    disabled   boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
);

CREATE TABLE tokens (
    pk          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          uuid NOT NULL UNIQUE,
    kind        text NOT NULL,
    user_pk     bigint NOT NULL REFERENCES users (pk),
    parent_pk   bigint REFERENCES tokens (pk),
    permissions text NOT NULL,
    email       text,
    created_at  bigint NOT NULL,
    expires_at  bigint NOT NULL,
    revoked_at  bigint
);
CREATE INDEX tokens_parent ON tokens (parent_pk) WHERE parent_pk IS NOT NULL;
CREATE INDEX tokens_client ON tokens (user_pk) WHERE kind = 'CLIENT';

-- Every append updates its room's row in place: room is left on the pages for that, and none of the changing columns is
-- indexed.
CREATE TABLE rooms (
    pk            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            uuid NOT NULL UNIQUE,
    name          text NOT NULL,
    owner_pk      bigint NOT NULL REFERENCES users (pk),
    seq           bigint NOT NULL,
    message_count bigint NOT NULL,
    member_count  bigint NOT NULL,
    created_at    bigint NOT NULL,
    updated_at    bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE members (
    room_pk    bigint NOT NULL REFERENCES rooms (pk),
    user_pk    bigint NOT NULL REFERENCES users (pk),
    joined_seq bigint NOT NULL,
    PRIMARY KEY (user_pk, room_pk)
);
CREATE UNIQUE INDEX members_joined ON members (room_pk, joined_seq);

-- An event of a room is either here or in `room_events`; both count with the room's `seq`. No foreign keys: the writer has
-- locked the room's row and looked its author up in the same transaction, neither is ever deleted, and checking each row
-- once more would cost more than inserting it.
CREATE TABLE messages (
    pk                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id                uuid NOT NULL UNIQUE,
    room_pk           bigint NOT NULL,
    seq               bigint NOT NULL,
    user_pk           bigint NOT NULL,
    content           text NOT NULL,
    client_message_id text COLLATE "C",
    created_at        bigint NOT NULL,
    updated_at        bigint NOT NULL
);
CREATE UNIQUE INDEX messages_seq ON messages (room_pk, seq);
CREATE INDEX messages_author ON messages (user_pk, pk);
CREATE UNIQUE INDEX messages_client_id ON messages (user_pk, room_pk, client_message_id) WHERE client_message_id IS NOT NULL;

CREATE TABLE room_events (
    room_pk bigint NOT NULL REFERENCES rooms (pk),
    seq     bigint NOT NULL,
    kind    text NOT NULL,
    user_pk bigint NOT NULL REFERENCES users (pk),
    by_pk   bigint NOT NULL REFERENCES users (pk),
    at      bigint NOT NULL,
    PRIMARY KEY (room_pk, seq)
);

CREATE TABLE control_log (
    position bigint PRIMARY KEY,
    kind     text NOT NULL,
    subject  uuid NOT NULL,
    at       bigint NOT NULL
);

-- The newest position of the control log, in one row that stays locked until its writer commits: so positions rise in
-- commit order, which those of a sequence would not.
CREATE TABLE control_head (
    one      int PRIMARY KEY CHECK (one = 1),
    position bigint NOT NULL
);
INSERT INTO control_head (one, position) VALUES (1, 0);

CREATE TABLE idempotency (
    key     bytea PRIMARY KEY,
    body    bytea NOT NULL,
    outcome text NOT NULL,
    at      bigint NOT NULL
);
CREATE INDEX idempotency_at ON idempotency (at);
