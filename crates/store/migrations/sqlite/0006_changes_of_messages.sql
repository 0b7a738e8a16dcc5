-- What becomes of messages after they were posted. A message's row keeps the text that it had first; every later text is
-- appended to `texts`, and `changes` names the present one. So texts are only ever appended and emptied: a row that grew could
-- leave copies of itself in the file. (A row from before `lane` grows by a byte when it is first rewritten: a copy of it may
-- stay in an upgraded file until that is rewritten.) `updated_at` of a message that was changed is later than its `created_at`:
-- of all others no change needs to be looked for.

CREATE TABLE changes (
    message_pk   INTEGER PRIMARY KEY,
    -- The event that changed the content last, and the present text.
    content_seq  INTEGER NOT NULL,
    head         INTEGER NOT NULL,
    version      INTEGER NOT NULL,
    edited_at    INTEGER,
    edited_by_pk INTEGER,
    deleted_at   INTEGER,
    deleted_by_pk INTEGER
) STRICT;

-- The texts of a message from the second on, each with the one before it, which is absent from the second.
CREATE TABLE texts (
    pk         INTEGER PRIMARY KEY,
    message_pk INTEGER NOT NULL,
    prev       INTEGER,
    version    INTEGER NOT NULL,
    by_pk      INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    content    TEXT NOT NULL
) STRICT;

-- How a message is shown and counted; 0 is shown and counted. The index leads through a room's messages of one lane. It ends in
-- the author, to count without reading rows, and so it can't be unique; the one writer gives each number once.
ALTER TABLE messages ADD COLUMN lane INTEGER NOT NULL DEFAULT 0;
CREATE INDEX messages_lane ON messages (room_pk, lane, seq, user_pk);
DROP INDEX messages_seq;
