-- What a message has besides the text, author and time with which it was posted. Most messages have nothing of this: then
-- `updated_at` in `messages` is the same as `created_at`, and no reader looks for more. Any other `updated_at` says that
-- `changes` has a row for the message.
--
-- A message's row keeps the text that it had first; later texts are appended to `texts`, and `changes.head` names the present
-- one. No foreign keys, as in `messages`, and no statistics of texts, which would keep copies of them.

-- A room's newest event when read positions came. It is the position of members from before whose `read_seq` is absent.
-- Copied first, while nothing is locked yet.
CREATE TABLE first_read_seqs (
    room_pk bigint PRIMARY KEY,
    seq     bigint NOT NULL
);
INSERT INTO first_read_seqs (room_pk, seq) SELECT pk, seq FROM rooms;

CREATE TABLE changes (
    message_pk    bigint PRIMARY KEY,
    updated_at    bigint NOT NULL,
    -- The events that last changed the content (with deletion and pin), the reactions and the thread. The first is the
    -- message's own number if its content never changed.
    content_seq   bigint NOT NULL,
    reactions_seq bigint,
    thread_seq    bigint,
    -- The present text; absent while it is the first.
    head          bigint,
    version       bigint NOT NULL,
    edited_at     bigint,
    edited_by_pk  bigint,
    deleted_at    bigint,
    deleted_by_pk bigint,
    pinned_at     bigint,
    pinned_by_pk  bigint,
    -- Bits: 1 system, 2 silent, 4 also in the room, 8 mentions the room, 16 has mentions, 32 has reactions, 64 has a thread,
    -- 128 has metadata, 256 is deleted for good.
    flags         integer NOT NULL,
    -- The message to which it is a reply in a thread, the one that it quotes, and when it was imported.
    parent_pk     bigint,
    quoted_pk     bigint,
    imported_at   bigint
) WITH (fillfactor = 90);

-- The versions of a message, each with the one before it: those from the second on, and the first if that has metadata. Without
-- `content` the text is the one in `messages`; an empty one was forgotten.
CREATE TABLE texts (
    pk         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_pk bigint NOT NULL,
    prev       bigint,
    version    bigint NOT NULL,
    by_pk      bigint NOT NULL,
    at         bigint NOT NULL,
    content    text,
    metadata   text
);
ALTER TABLE texts ALTER COLUMN content SET STATISTICS 0, ALTER COLUMN metadata SET STATISTICS 0;

-- Where a message is shown and counted. 0: in the room, counted as unread. 1: in the room, not counted, since it is deleted,
-- silent or of the system. 2: in a thread only. 3: the same, not counted. 4: nowhere, since it is deleted for good. The index
-- leads through a room's messages of one lane. Where there were messages before, it was built while earlier nodes served. Room
-- is left on the pages for `updated_at`, which is not indexed.
ALTER TABLE messages
    ADD COLUMN IF NOT EXISTS lane smallint NOT NULL DEFAULT 0,
    ALTER COLUMN content SET STATISTICS 0,
    SET (fillfactor = 90);
CREATE UNIQUE INDEX IF NOT EXISTS messages_lane ON messages (room_pk, lane, seq) INCLUDE (user_pk);
DROP INDEX messages_seq;

-- Threads. `replies` has every reply, in the order of the room. `following` is false for who unfollowed.
CREATE TABLE threads (
    parent_pk      bigint PRIMARY KEY,
    room_pk        bigint NOT NULL,
    replies        bigint NOT NULL,
    last_reply_seq bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX threads_last_reply ON threads (room_pk, last_reply_seq);
CREATE TABLE replies (
    parent_pk  bigint NOT NULL,
    seq        bigint NOT NULL,
    message_pk bigint NOT NULL,
    PRIMARY KEY (parent_pk, seq)
);
CREATE TABLE thread_authors (
    parent_pk bigint NOT NULL,
    user_pk   bigint NOT NULL,
    -- Of the visible replies: how many, and the first.
    replies   bigint NOT NULL,
    first_seq bigint NOT NULL,
    PRIMARY KEY (parent_pk, user_pk)
) WITH (fillfactor = 80);
CREATE TABLE follows (
    user_pk   bigint NOT NULL,
    parent_pk bigint NOT NULL,
    following boolean NOT NULL,
    read_seq  bigint NOT NULL,
    PRIMARY KEY (user_pk, parent_pk)
) WITH (fillfactor = 80);
CREATE INDEX follows_parent ON follows (parent_pk);

-- Reactions: the kinds of a message in the order of their first use, and who used each.
CREATE TABLE reaction_counts (
    message_pk bigint NOT NULL,
    kind       smallint NOT NULL,
    emoji      text COLLATE "C" NOT NULL,
    count      bigint NOT NULL,
    PRIMARY KEY (message_pk, kind)
) WITH (fillfactor = 80);
CREATE TABLE reactions (
    message_pk bigint NOT NULL,
    kind       smallint NOT NULL,
    user_pk    bigint NOT NULL,
    PRIMARY KEY (message_pk, kind, user_pk)
);

-- Mentions: those that a message shows, in their order; those of a user, each told once; those of a whole room.
CREATE TABLE message_mentions (
    message_pk bigint NOT NULL,
    place      smallint NOT NULL,
    user_pk    bigint NOT NULL,
    PRIMARY KEY (message_pk, place)
);
CREATE TABLE mentions (
    user_pk    bigint NOT NULL,
    room_pk    bigint NOT NULL,
    -- The event that made the mention: the message, or an edit of it.
    seq        bigint NOT NULL,
    message_pk bigint NOT NULL,
    PRIMARY KEY (user_pk, room_pk, seq)
);
CREATE INDEX mentions_message ON mentions (message_pk);
CREATE TABLE room_mentions (
    room_pk    bigint NOT NULL,
    seq        bigint NOT NULL,
    message_pk bigint NOT NULL,
    PRIMARY KEY (room_pk, seq)
);

CREATE TABLE pins (
    room_pk    bigint NOT NULL,
    -- The event that pinned it.
    seq        bigint NOT NULL,
    message_pk bigint NOT NULL UNIQUE,
    PRIMARY KEY (room_pk, seq)
);

-- Clients' own ids of messages that were deleted for good, as HMACs, so that sending again stores nothing.
CREATE TABLE removed_client_ids (
    user_pk   bigint NOT NULL,
    room_pk   bigint NOT NULL,
    client_id bytea NOT NULL,
    seq       bigint NOT NULL,
    PRIMARY KEY (user_pk, room_pk, client_id)
);
