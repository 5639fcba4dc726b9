-- It only expands. Servers of version 3 start sessions without terms, and know nothing of what was used once.

-- What the session of an application was agreed on beside its scopes: JSON. Those of tools have none.
ALTER TABLE session ADD COLUMN terms TEXT;

-- What may be used once only, and was: a hash, and when it may be forgotten.
CREATE TABLE used_once (
    id UUID PRIMARY KEY,
    until BIGINT NOT NULL
);
CREATE INDEX used_once_by_time ON used_once (until);
