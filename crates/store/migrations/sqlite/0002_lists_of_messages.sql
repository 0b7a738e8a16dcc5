-- What messages are found by besides their place: their author, and their client's own id. Kept in order with each message,
-- these lists were most of what a commit wrote. Now they are brought up to date in runs: all messages up to `up_to` are in
-- them, and some above it.

CREATE TABLE messages_by_author (
    user_pk    INTEGER NOT NULL,
    message_pk INTEGER NOT NULL,
    PRIMARY KEY (user_pk, message_pk)
) STRICT, WITHOUT ROWID;

CREATE TABLE messages_by_client_id (
    user_pk           INTEGER NOT NULL,
    room_pk           INTEGER NOT NULL,
    client_message_id TEXT NOT NULL,
    message_pk        INTEGER NOT NULL,
    PRIMARY KEY (user_pk, room_pk, client_message_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE messages_listed (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    up_to INTEGER NOT NULL
) STRICT;
INSERT INTO messages_listed (one, up_to) SELECT 1, coalesce(max(pk), 0) FROM messages;

-- The program then enters the messages that are there, some at a time, and drops the indexes `messages_author` and
-- `messages_client_id`.
