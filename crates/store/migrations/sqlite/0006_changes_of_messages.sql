-- What a message has besides the text, author and time with which it was posted. Most messages have nothing of this: then
-- `updated_at` in `messages` is the same as `created_at`, and no reader looks for more. Any other `updated_at` says that
-- `changes` has a row for the message.
--
-- A message's row keeps the text that it had first; later texts are appended to `texts`, and `changes.head` names the present
-- one. So texts are only appended and emptied, since a row that grew could leave copies of itself in the file. (A row from
-- before `lane` grows by a byte when it is first rewritten. A copy of it may stay in an upgraded file until that is rewritten.)

-- A room's newest event when read positions came. It is the position of members from before whose `read_seq` is absent.
CREATE TABLE first_read_seqs (
    room_pk INTEGER PRIMARY KEY,
    seq     INTEGER NOT NULL
) STRICT;
INSERT INTO first_read_seqs (room_pk, seq) SELECT pk, seq FROM rooms;

CREATE TABLE changes (
    message_pk    INTEGER PRIMARY KEY,
    updated_at    INTEGER NOT NULL,
    -- The events that last changed the content (with deletion and pin), the reactions and the thread. The first is the
    -- message's own number if its content never changed.
    content_seq   INTEGER NOT NULL,
    reactions_seq INTEGER,
    thread_seq    INTEGER,
    -- The present text; absent while it is the first.
    head          INTEGER,
    version       INTEGER NOT NULL,
    edited_at     INTEGER,
    edited_by_pk  INTEGER,
    deleted_at    INTEGER,
    deleted_by_pk INTEGER,
    pinned_at     INTEGER,
    pinned_by_pk  INTEGER,
    -- Bits: 1 system, 2 silent, 4 also in the room, 8 mentions the room, 16 has mentions, 32 has reactions, 64 has a thread,
    -- 128 has metadata, 256 is deleted for good.
    flags         INTEGER NOT NULL,
    -- The message to which it is a reply in a thread, the one that it quotes, and when it was imported.
    parent_pk     INTEGER,
    quoted_pk     INTEGER,
    imported_at   INTEGER
) STRICT;

-- The versions of a message, each with the one before it: those from the second on, and the first if that has metadata. Without
-- `content` the text is the one in `messages`; an empty one was forgotten.
CREATE TABLE texts (
    pk         INTEGER PRIMARY KEY,
    message_pk INTEGER NOT NULL,
    prev       INTEGER,
    version    INTEGER NOT NULL,
    by_pk      INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    content    TEXT,
    metadata   TEXT
) STRICT;

-- Where a message is shown and counted. 0: in the room, counted as unread. 1: in the room, not counted, since it is deleted,
-- silent or of the system. 2: in a thread only. 3: the same, not counted. 4: nowhere, since it is deleted for good. The index
-- leads through a room's messages of one lane. It ends in the author, to count without reading rows, and so it can't be unique;
-- the one writer gives each number once.
ALTER TABLE messages ADD COLUMN lane INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_lane ON messages (room_pk, lane, seq, user_pk);
DROP INDEX messages_seq;

-- Threads. `replies` has every reply, in the order of the room. `following` is false for who unfollowed.
CREATE TABLE threads (
    parent_pk     INTEGER PRIMARY KEY,
    room_pk       INTEGER NOT NULL,
    replies       INTEGER NOT NULL,
    last_reply_seq INTEGER NOT NULL
) STRICT;
CREATE INDEX threads_last_reply ON threads (room_pk, last_reply_seq);
CREATE TABLE replies (
    parent_pk  INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    message_pk INTEGER NOT NULL,
    PRIMARY KEY (parent_pk, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE thread_authors (
    parent_pk INTEGER NOT NULL,
    user_pk   INTEGER NOT NULL,
    -- Of the visible replies: how many, and the first.
    replies   INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    PRIMARY KEY (parent_pk, user_pk)
) STRICT, WITHOUT ROWID;
CREATE TABLE follows (
    user_pk   INTEGER NOT NULL,
    parent_pk INTEGER NOT NULL,
    following INTEGER NOT NULL,
    read_seq  INTEGER NOT NULL,
    PRIMARY KEY (user_pk, parent_pk)
) STRICT, WITHOUT ROWID;
CREATE INDEX follows_parent ON follows (parent_pk);

-- Reactions: the kinds of a message in the order of their first use, and who used each.
CREATE TABLE reaction_counts (
    message_pk INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    emoji      TEXT NOT NULL,
    count      INTEGER NOT NULL,
    PRIMARY KEY (message_pk, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE reactions (
    message_pk INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    user_pk    INTEGER NOT NULL,
    PRIMARY KEY (message_pk, kind, user_pk)
) STRICT, WITHOUT ROWID;

-- Mentions: those that a message shows, in their order; those of a user, each told once; those of a whole room.
CREATE TABLE message_mentions (
    message_pk INTEGER NOT NULL,
    place      INTEGER NOT NULL,
    user_pk    INTEGER NOT NULL,
    PRIMARY KEY (message_pk, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE mentions (
    user_pk    INTEGER NOT NULL,
    room_pk    INTEGER NOT NULL,
    -- The event that made the mention: the message, or an edit of it.
    seq        INTEGER NOT NULL,
    message_pk INTEGER NOT NULL,
    PRIMARY KEY (user_pk, room_pk, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX mentions_message ON mentions (message_pk);
CREATE TABLE room_mentions (
    room_pk    INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    message_pk INTEGER NOT NULL,
    PRIMARY KEY (room_pk, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE pins (
    room_pk    INTEGER NOT NULL,
    -- The event that pinned it.
    seq        INTEGER NOT NULL,
    message_pk INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (room_pk, seq)
) STRICT, WITHOUT ROWID;

-- Clients' own ids of messages that were deleted for good, as HMACs, so that sending again stores nothing.
CREATE TABLE removed_client_ids (
    user_pk   INTEGER NOT NULL,
    room_pk   INTEGER NOT NULL,
    client_id BLOB NOT NULL,
    seq       INTEGER NOT NULL,
    PRIMARY KEY (user_pk, room_pk, client_id)
) STRICT, WITHOUT ROWID;
