-- What a message has besides its texts. Most messages have nothing of this: then `updated_at` in `messages` is the same as
-- `created_at`, and no reader looks for more. Of every other message, `changes` may have a row.

ALTER TABLE changes
    -- The events that last changed the reactions and the thread. `content_seq`, that of the last change of the content, the
    -- deletion or the pin, is the message's own number if there was none.
    ADD COLUMN reactions_seq bigint,
    ADD COLUMN thread_seq    bigint,
    ADD COLUMN pinned_at     bigint,
    ADD COLUMN pinned_by_pk  bigint,
    -- Bits: 1 system, 2 silent, 4 also in the room, 8 mentions the room, 16 has mentions, 32 has reactions, 64 has a thread,
    -- 128 has metadata, 256 is deleted for good.
    ADD COLUMN flags         integer NOT NULL DEFAULT 0,
    -- The message to which it is a reply in a thread, the one that it quotes, and when it was imported.
    ADD COLUMN parent_pk     bigint,
    ADD COLUMN quoted_pk     bigint,
    ADD COLUMN imported_at   bigint,
    -- Absent while the present text is the first.
    ALTER COLUMN head DROP NOT NULL;
ALTER TABLE texts ADD COLUMN metadata text, ALTER COLUMN metadata SET STATISTICS 0;

-- Lanes, in `messages`. 0: in the room, counted as unread. 1: in the room, not counted, since it is deleted, silent or of the
-- system. 2: in a thread only. 3: the same, not counted. 4: nowhere, since it is deleted for good.
--
-- Statistics that were gathered before keep copies of texts. A change of the type drops them; to the same type it rewrites
-- nothing.
ALTER TABLE messages ALTER COLUMN content TYPE text;

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

-- What rooms, memberships and users have besides what they had from the start. What a send needs is in the rows that it reads
-- anyway; the rest lies beside, so that those rows stay short.

ALTER TABLE rooms
    -- 0 private, 1 public, 2 direct.
    ADD COLUMN kind smallint NOT NULL DEFAULT 0,
    -- Which lanes have messages: bit n is set where lane n has some.
    ADD COLUMN lanes smallint NOT NULL DEFAULT 1,
    -- How many of `message_count` never counted as unread.
    ADD COLUMN not_counted bigint NOT NULL DEFAULT 0,
    -- 0: members post; 1: moderators only.
    ADD COLUMN who_may_post smallint NOT NULL DEFAULT 0,
    ADD COLUMN slow_mode_seconds integer NOT NULL DEFAULT 0,
    ADD COLUMN archived_at bigint,
    -- Set by deletion. The row and its contents are then removed in the background.
    ADD COLUMN deleted_at bigint,
    -- Whether the owner has left, or there never was one. `owner_pk` then names who was it last.
    ADD COLUMN ownerless boolean NOT NULL DEFAULT false,
    -- The transaction that changed anything of it last.
    ADD COLUMN changed bigint NOT NULL DEFAULT 0,
    ADD COLUMN external_id text COLLATE "C",
    -- For direct rooms: a hash of the ids of their people.
    ADD COLUMN direct_key bytea;
CREATE UNIQUE INDEX rooms_external_id ON rooms (external_id) WHERE external_id IS NOT NULL;
CREATE UNIQUE INDEX rooms_direct_key ON rooms (direct_key) WHERE direct_key IS NOT NULL;
CREATE INDEX rooms_public ON rooms (pk) WHERE kind = 1;
CREATE INDEX rooms_deleted ON rooms (pk) WHERE deleted_at IS NOT NULL;

-- Absent fields have their defaults.
CREATE TABLE room_details (
    room_pk              bigint PRIMARY KEY,
    description          text,
    avatar_url           text,
    metadata             text,
    -- 0 moderators, 1 members.
    who_may_invite       smallint,
    -- 0 moderators, 1 members.
    who_may_mention_room smallint,
    -- Whether who joins sees only what comes later.
    history_since_join   boolean,
    edit_window_seconds  integer,
    -- 0 none, 1 read, 2 delivered. Rooms from before this step have none.
    receipts             smallint,
    -- The event that made it public while it had messages: who enters by itself sees what comes later.
    public_seq           bigint
);

ALTER TABLE members
    -- 0 member, 1 reader, 2 moderator. The owner is in `rooms`.
    ADD COLUMN role smallint NOT NULL DEFAULT 0,
    -- The floor: nothing below this number is shown.
    ADD COLUMN from_seq bigint NOT NULL DEFAULT 1,
    ADD COLUMN silenced_until bigint,
    -- Whether the member entered by itself or has acted in the room.
    ADD COLUMN accepted boolean NOT NULL DEFAULT true,
    -- Its last message, where slow mode is on.
    ADD COLUMN posted_at bigint,
    -- Absent until the first read mark.
    ADD COLUMN read_seq bigint,
    ADD COLUMN read_at bigint,
    ADD COLUMN delivered_seq bigint,
    -- The first unread message, as set by the member, and when.
    ADD COLUMN unread_from bigint,
    ADD COLUMN unread_from_at bigint,
    -- 0 all, 1 mentions, 2 none.
    ADD COLUMN notify smallint NOT NULL DEFAULT 0,
    ADD COLUMN muted_until bigint,
    -- How many messages had counted when the member hid the room.
    ADD COLUMN hidden_at bigint,
    ADD COLUMN favourite boolean NOT NULL DEFAULT false,
    -- Rises with each change of what the member sees as `me`.
    ADD COLUMN version bigint NOT NULL DEFAULT 0,
    -- The transaction that changed anything of it last.
    ADD COLUMN changed bigint NOT NULL DEFAULT 0,
    SET (fillfactor = 80);

-- Memberships that ended: what outlives them, and since which transaction. `removed` says that somebody else ended it, and so
-- only somebody else can begin it anew.
CREATE TABLE former_members (
    user_pk        bigint NOT NULL,
    room_pk        bigint NOT NULL,
    left_at        bigint NOT NULL,
    removed        boolean NOT NULL,
    reader         boolean NOT NULL,
    silenced_until bigint,
    changed        bigint NOT NULL,
    PRIMARY KEY (user_pk, room_pk)
);
CREATE INDEX former_members_removed ON former_members (room_pk, user_pk) WHERE removed;

CREATE TABLE invites (
    pk         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         uuid NOT NULL UNIQUE,
    room_pk    bigint NOT NULL,
    code       text COLLATE "C" NOT NULL UNIQUE,
    by_pk      bigint NOT NULL,
    -- As in `members`; absent where the invite names none.
    role       smallint,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    max_uses   bigint,
    uses       bigint NOT NULL
);
CREATE INDEX invites_room ON invites (room_pk);

ALTER TABLE users
    ADD COLUMN display_name text,
    ADD COLUMN avatar_url text,
    ADD COLUMN bot boolean NOT NULL DEFAULT false,
    ADD COLUMN erased_at bigint;
CREATE TABLE user_details (
    user_pk      bigint PRIMARY KEY,
    metadata     text,
    -- 0 anyone, 1 who shares a room, 2 nobody.
    who_may_add  smallint,
    -- Whether others see the marks of what the user has read.
    receipts     boolean,
    -- 0 who shares a room, 1 nobody.
    last_seen    smallint,
    -- Presence: 0 online, 1 away, 2 busy.
    status       smallint,
    status_text  text,
    invisible    boolean,
    last_seen_at bigint,
    status_at    bigint
) WITH (fillfactor = 80);
CREATE TABLE blocks (
    user_pk    bigint NOT NULL,
    blocked_pk bigint NOT NULL,
    at         bigint NOT NULL,
    PRIMARY KEY (user_pk, blocked_pk)
);
CREATE INDEX blocks_blocked ON blocks (blocked_pk);
-- How many people a user has added on a day, counted in days since 1970, with whom it shared no room.
CREATE TABLE people_added (
    user_pk bigint PRIMARY KEY,
    day     bigint NOT NULL,
    people  bigint NOT NULL
);
