-- The audit log. Each field is described on AuditRecord in the Rust documentation.
CREATE TABLE {schema}_record (
    id                 TEXT    NOT NULL PRIMARY KEY,
    xid                TEXT    NOT NULL,
    occurred_at        TEXT    NOT NULL,
    recorded_at        TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    service            TEXT    NOT NULL CHECK (service <> ''),
    service_version    TEXT,
    actor_kind         TEXT    NOT NULL CHECK (actor_kind IN ('user', 'service', 'system', 'anonymous')),
    actor_id           TEXT    NOT NULL CHECK (actor_id <> ''),
    actor_session      TEXT,
    actor_tenant       TEXT,
    actor_on_behalf_of TEXT,
    action             TEXT    NOT NULL CHECK (length(action) BETWEEN 3 AND 100),
    resource_type      TEXT,
    resource_id        TEXT,
    outcome            TEXT    NOT NULL CHECK (outcome IN ('success', 'denied', 'invalid', 'failed', 'panicked', 'timed_out')),
    status             INTEGER          CHECK (status BETWEEN 100 AND 999),
    error_type         TEXT,
    reason             TEXT,
    request_id         TEXT,
    method             TEXT,
    route              TEXT,
    path               TEXT,
    client_address     TEXT,
    user_agent         TEXT,
    trace_id           TEXT             CHECK (length(trace_id) = 32),
    span_id            TEXT             CHECK (length(span_id) = 16),
    changes            TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(changes)),
    details            TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(details)),
    cut                TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(cut)),
    CONSTRAINT success_has_no_failing_status CHECK (outcome <> 'success' OR status < 400 OR status IS NULL)
) STRICT, WITHOUT ROWID;

-- WITHOUT ROWID: each index ends with the id.
CREATE INDEX {schema}_record_recorded_at ON {schema}_record (recorded_at);
CREATE INDEX {schema}_record_resource ON {schema}_record (resource_type, resource_id, recorded_at);
CREATE INDEX {schema}_record_actor ON {schema}_record (actor_id, recorded_at);

CREATE TRIGGER {schema}_record_no_update BEFORE UPDATE ON {schema}_record
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: UPDATE of {schema}_record was refused');
END;
CREATE TRIGGER {schema}_record_no_delete BEFORE DELETE ON {schema}_record
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: DELETE from {schema}_record was refused');
END;
-- INSERT OR REPLACE deletes without firing delete triggers.
CREATE TRIGGER {schema}_record_no_replace BEFORE INSERT ON {schema}_record
WHEN EXISTS (SELECT 1 FROM {schema}_record WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: replacing a record of {schema}_record was refused');
END;
