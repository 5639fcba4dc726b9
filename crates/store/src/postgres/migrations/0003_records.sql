-- It only expands. Servers of version 2 leave departed as it is when they replace the directory, and know of no record.

-- Who was removed from the directory: JSON, name to milliseconds.
ALTER TABLE directory ADD COLUMN departed TEXT NOT NULL DEFAULT '{}';

-- What identity sources said of people, and the signing keys. The version counts how often a record was put; its content is
-- JSON. Kinds are words that differ in their first letters, which every operating system sorts alike.
CREATE TABLE record (
    kind TEXT NOT NULL,
    key BYTEA NOT NULL,
    version BIGINT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (kind, key)
);
