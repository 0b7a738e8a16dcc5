-- What an event says besides whom it is about: the message that it names, and the rest as a JSON object with the names and the
-- shape of the event's frame. Never a text of a message: the message is read when the event is shown. `message_pk` refers to
-- `messages` without a foreign key, which would have to be looked for whenever a message is removed.

ALTER TABLE room_events ADD COLUMN message_pk INTEGER;
ALTER TABLE room_events ADD COLUMN body TEXT;
