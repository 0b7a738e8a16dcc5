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
    -- Absent for members from before this step who have read nothing since.
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

-- An owner who is no member is none any more.
UPDATE rooms SET ownerless = true
WHERE NOT EXISTS (SELECT FROM members m WHERE m.user_pk = rooms.owner_pk AND m.room_pk = rooms.pk);

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
