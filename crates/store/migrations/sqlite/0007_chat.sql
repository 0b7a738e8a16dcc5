-- What a message has besides its texts. Most messages have nothing of this: then `updated_at` in `messages` is the same as
-- `created_at`, and no reader looks for more. Of every other message, `changes` may have a row.

ALTER TABLE changes RENAME TO changes_before;
CREATE TABLE changes (
    message_pk    INTEGER PRIMARY KEY,
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
    flags         INTEGER NOT NULL DEFAULT 0,
    -- The message to which it is a reply in a thread, the one that it quotes, and when it was imported.
    parent_pk     INTEGER,
    quoted_pk     INTEGER,
    imported_at   INTEGER
) STRICT;
INSERT INTO changes (message_pk, content_seq, head, version, edited_at, edited_by_pk)
    SELECT message_pk, content_seq, head, version, edited_at, edited_by_pk FROM changes_before;
DROP TABLE changes_before;
ALTER TABLE texts ADD COLUMN metadata TEXT;

-- Lanes, in `messages`. 0: in the room, counted as unread. 1: in the room, not counted, since it is deleted, silent or of the
-- system. 2: in a thread only. 3: the same, not counted. 4: nowhere, since it is deleted for good.

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

-- What rooms, memberships and users have besides what they had from the start. What a send needs is in the rows that it reads
-- anyway; the rest lies beside, so that those rows stay short.

-- 0 private, 1 public, 2 direct.
ALTER TABLE rooms ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
-- Which lanes have messages: bit n is set where lane n has some.
ALTER TABLE rooms ADD COLUMN lanes INTEGER NOT NULL DEFAULT 1;
-- How many of `message_count` never counted as unread.
ALTER TABLE rooms ADD COLUMN not_counted INTEGER NOT NULL DEFAULT 0;
-- 0: members post; 1: moderators only.
ALTER TABLE rooms ADD COLUMN who_may_post INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN slow_mode_seconds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN archived_at INTEGER;
-- Set by deletion. The row and its contents are then removed in the background.
ALTER TABLE rooms ADD COLUMN deleted_at INTEGER;
-- Whether the owner has left, or there never was one. `owner_pk` then names who was it last.
ALTER TABLE rooms ADD COLUMN ownerless INTEGER NOT NULL DEFAULT 0;
-- The commit that changed anything of it last.
ALTER TABLE rooms ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN external_id TEXT;
-- For direct rooms: a hash of the ids of their people.
ALTER TABLE rooms ADD COLUMN direct_key BLOB;
CREATE UNIQUE INDEX rooms_external_id ON rooms (external_id) WHERE external_id IS NOT NULL;
CREATE UNIQUE INDEX rooms_direct_key ON rooms (direct_key) WHERE direct_key IS NOT NULL;
CREATE INDEX rooms_public ON rooms (pk) WHERE kind = 1;
CREATE INDEX rooms_deleted ON rooms (pk) WHERE deleted_at IS NOT NULL;

-- Absent fields have their defaults.
CREATE TABLE room_details (
    room_pk              INTEGER PRIMARY KEY,
    description          TEXT,
    avatar_url           TEXT,
    metadata             TEXT,
    -- 0 moderators, 1 members.
    who_may_invite       INTEGER,
    -- 0 moderators, 1 members.
    who_may_mention_room INTEGER,
    -- Whether who joins sees only what comes later.
    history_since_join   INTEGER,
    edit_window_seconds  INTEGER,
    -- 0 none, 1 read, 2 delivered. Rooms from before this step have none.
    receipts             INTEGER,
    -- The event that made it public while it had messages: who enters by itself sees what comes later.
    public_seq           INTEGER
) STRICT;

-- A table anew, in one pass; each added column would have been one.
ALTER TABLE members RENAME TO members_before;
DROP INDEX members_joined;
CREATE TABLE members (
    room_pk        INTEGER NOT NULL REFERENCES rooms (pk),
    user_pk        INTEGER NOT NULL REFERENCES users (pk),
    joined_seq     INTEGER NOT NULL,
    -- 0 member, 1 reader, 2 moderator. The owner is in `rooms`.
    role           INTEGER NOT NULL DEFAULT 0,
    -- The floor: nothing below this number is shown.
    from_seq       INTEGER NOT NULL DEFAULT 1,
    silenced_until INTEGER,
    -- Whether the member entered by itself or has acted in the room.
    accepted       INTEGER NOT NULL DEFAULT 1,
    -- Its last message, where slow mode is on.
    posted_at      INTEGER,
    read_seq       INTEGER,
    read_at        INTEGER,
    delivered_seq  INTEGER,
    -- The first unread message, as set by the member, and when.
    unread_from    INTEGER,
    unread_from_at INTEGER,
    -- 0 all, 1 mentions, 2 none.
    notify         INTEGER NOT NULL DEFAULT 0,
    muted_until    INTEGER,
    -- How many messages had counted when the member hid the room.
    hidden_at      INTEGER,
    favourite      INTEGER NOT NULL DEFAULT 0,
    -- Rises with each change of what the member sees as `me`.
    version        INTEGER NOT NULL DEFAULT 0,
    -- The commit that changed anything of it last.
    changed        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user_pk, room_pk)
) STRICT;
INSERT INTO members (room_pk, user_pk, joined_seq) SELECT room_pk, user_pk, joined_seq FROM members_before ORDER BY rowid;
DROP TABLE members_before;
CREATE UNIQUE INDEX members_joined ON members (room_pk, joined_seq);

-- Memberships that ended: what outlives them, and since which commit. `removed` says that somebody else ended it, and so only
-- somebody else can begin it anew.
CREATE TABLE former_members (
    user_pk        INTEGER NOT NULL,
    room_pk        INTEGER NOT NULL,
    left_at        INTEGER NOT NULL,
    removed        INTEGER NOT NULL,
    reader         INTEGER NOT NULL,
    silenced_until INTEGER,
    changed        INTEGER NOT NULL,
    PRIMARY KEY (user_pk, room_pk)
) STRICT, WITHOUT ROWID;
CREATE INDEX former_members_removed ON former_members (room_pk, user_pk) WHERE removed;

CREATE TABLE invites (
    pk         INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE,
    room_pk    INTEGER NOT NULL,
    code       TEXT NOT NULL UNIQUE,
    by_pk      INTEGER NOT NULL,
    -- As in `members`; absent where the invite names none.
    role       INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    max_uses   INTEGER,
    uses       INTEGER NOT NULL
) STRICT;
CREATE INDEX invites_room ON invites (room_pk);

ALTER TABLE users ADD COLUMN display_name TEXT;
ALTER TABLE users ADD COLUMN avatar_url TEXT;
ALTER TABLE users ADD COLUMN bot INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN erased_at INTEGER;
CREATE TABLE user_details (
    user_pk      INTEGER PRIMARY KEY,
    metadata     TEXT,
    -- 0 anyone, 1 who shares a room, 2 nobody.
    who_may_add  INTEGER,
    -- Whether others see the marks of what the user has read.
    receipts     INTEGER,
    -- 0 who shares a room, 1 nobody.
    last_seen    INTEGER,
    -- Presence: 0 online, 1 away, 2 busy.
    status       INTEGER,
    status_text  TEXT,
    invisible    INTEGER,
    last_seen_at INTEGER,
    status_at    INTEGER
) STRICT;
CREATE TABLE blocks (
    user_pk    INTEGER NOT NULL,
    blocked_pk INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (user_pk, blocked_pk)
) STRICT, WITHOUT ROWID;
CREATE INDEX blocks_blocked ON blocks (blocked_pk);
-- How many people a user has added on a day, counted in days since 1970, with whom it shared no room.
CREATE TABLE people_added (
    user_pk INTEGER PRIMARY KEY,
    day     INTEGER NOT NULL,
    people  INTEGER NOT NULL
) STRICT;
