-- Times are milliseconds since the Unix epoch.
--
-- What people type is BYTEA, in UTF-8. Text would refuse U+0000, which a client may have in its name, and an index
-- over text is silently wrong once the operating system sorts differently than it did when the index was made.

-- A refresh writes generation and rotated_at, the end of a session ended_at and end_reason. No index has any of
-- them, and half of each page is left free, so that PostgreSQL writes the new version of a row beside the old one
-- and touches no index (a "HOT" update).
CREATE TABLE session (
    id UUID PRIMARY KEY,
    created_at BIGINT NOT NULL,
    authenticated_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    ended_at BIGINT,
    client UUID,
    person BYTEA NOT NULL,
    client_name BYTEA,
    end_reason TEXT,
    scopes TEXT NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX session_by_person ON session (person, created_at);
CREATE INDEX session_by_expiry ON session (expires_at);

CREATE TABLE device_request (
    id UUID PRIMARY KEY,
    client UUID NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    authenticated_at BIGINT,
    user_code BYTEA NOT NULL,
    address INET NOT NULL,
    client_name BYTEA NOT NULL,
    user_agent BYTEA,
    approved_by BYTEA,
    state TEXT NOT NULL,
    scopes TEXT NOT NULL
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX device_request_by_code ON device_request (user_code);
CREATE INDEX device_request_by_address ON device_request (address);
CREATE INDEX device_request_by_expiry ON device_request (expires_at);

-- One row, from the start. Its content is JSON as text, because JSONB cannot hold U+0000 either.
CREATE TABLE directory (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    version BIGINT NOT NULL,
    content TEXT NOT NULL
);
INSERT INTO directory (id, version, content) VALUES (1, 0, '{}');
