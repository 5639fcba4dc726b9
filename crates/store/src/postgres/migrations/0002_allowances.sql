-- How often something may be done, so that all nodes count together: a row for each allowance that is not whole, with
-- the moment at which it is. It only expands: servers of version 1 do not know of it and count by themselves.
CREATE TABLE allowance (
    key BIGINT PRIMARY KEY,
    whole_at BIGINT NOT NULL
);
CREATE INDEX allowance_by_time ON allowance (whole_at);
