-- What an event says besides whom it is about: the message that it names, and the rest as a JSON object with the names and the
-- shape of the event's frame. Never a text of a message: the message is read when the event is shown. `message_pk` refers to
-- `messages` without a foreign key, which would have to be looked for whenever a message is removed. No statistics: they would
-- keep copies of bodies.

ALTER TABLE room_events
    ADD COLUMN message_pk bigint,
    ADD COLUMN body text,
    ALTER COLUMN body SET STATISTICS 0;
