-- The fingerprint of the key of hashes of contents. Absent until a node that has the key starts.
ALTER TABLE installation ADD COLUMN content_key TEXT;
