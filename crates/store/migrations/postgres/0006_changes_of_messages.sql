-- What becomes of messages after they were posted. A message's row keeps the text that it had first; every later text is
-- appended to `texts`, and `changes` names the present one. `updated_at` of a message that was changed is later than its
-- `created_at`: of all others no change needs to be looked for. No foreign keys, as in `messages`, and no statistics of texts,
-- which would keep copies of them.

CREATE TABLE changes (
    message_pk    bigint PRIMARY KEY,
    -- The event that changed the content last, and the present text.
    content_seq   bigint NOT NULL,
    head          bigint NOT NULL,
    version       bigint NOT NULL,
    edited_at     bigint,
    edited_by_pk  bigint,
    deleted_at    bigint,
    deleted_by_pk bigint
) WITH (fillfactor = 90);

-- The texts of a message from the second on, each with the one before it, which is absent from the second.
CREATE TABLE texts (
    pk         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_pk bigint NOT NULL,
    prev       bigint,
    version    bigint NOT NULL,
    by_pk      bigint NOT NULL,
    at         bigint NOT NULL,
    content    text NOT NULL
);
ALTER TABLE texts ALTER COLUMN content SET STATISTICS 0;

-- How a message is shown and counted; 0 is shown and counted. The index leads through a room's messages of one lane. Where
-- there were messages before, it was built while earlier nodes served. Room is left on the pages for `updated_at`, which is
-- not indexed.
ALTER TABLE messages
    ADD COLUMN IF NOT EXISTS lane smallint NOT NULL DEFAULT 0,
    ALTER COLUMN content SET STATISTICS 0,
    SET (fillfactor = 90);
CREATE UNIQUE INDEX IF NOT EXISTS messages_lane ON messages (room_pk, lane, seq) INCLUDE (user_pk);
DROP INDEX messages_seq;
