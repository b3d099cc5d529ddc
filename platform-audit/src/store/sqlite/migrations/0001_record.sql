-- The audit log. Each field is described on AuditRecord in the Rust documentation. Sizes are in
-- bytes. The texts are cast to BLOB because length() of a text stops at the first NUL. The toolkit
-- truncates texts to these sizes, and JSON to far less.
CREATE TABLE {schema}_record (
    id                 TEXT    NOT NULL PRIMARY KEY CHECK (length(CAST(id AS BLOB)) IN (32, 36)),
    xid                TEXT    NOT NULL CHECK (length(CAST(xid AS BLOB)) <= 36),
    occurred_at        TEXT    NOT NULL CHECK (length(CAST(occurred_at AS BLOB)) <= 40),
    recorded_at        TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) CHECK (length(CAST(recorded_at AS BLOB)) <= 40),
    service            TEXT    NOT NULL CHECK (length(CAST(service AS BLOB)) BETWEEN 1 AND 100),
    service_version    TEXT             CHECK (length(CAST(service_version AS BLOB)) <= 100),
    actor_kind         TEXT    NOT NULL CHECK (actor_kind IN ('user', 'service', 'system', 'anonymous')),
    actor_id           TEXT    NOT NULL CHECK (length(CAST(actor_id AS BLOB)) BETWEEN 1 AND 256),
    actor_session      TEXT             CHECK (length(CAST(actor_session AS BLOB)) <= 256),
    actor_tenant       TEXT             CHECK (length(CAST(actor_tenant AS BLOB)) <= 256),
    actor_on_behalf_of TEXT             CHECK (length(CAST(actor_on_behalf_of AS BLOB)) <= 256),
    action             TEXT    NOT NULL CHECK (length(CAST(action AS BLOB)) BETWEEN 3 AND 100),
    resource_type      TEXT             CHECK (length(CAST(resource_type AS BLOB)) <= 100),
    resource_id        TEXT             CHECK (length(CAST(resource_id AS BLOB)) <= 256),
    outcome            TEXT    NOT NULL CHECK (outcome IN ('success', 'denied', 'invalid', 'failed', 'panicked', 'timed_out')),
    status             INTEGER          CHECK (status BETWEEN 100 AND 999),
    error_type         TEXT             CHECK (length(CAST(error_type AS BLOB)) <= 100),
    reason             TEXT             CHECK (length(CAST(reason AS BLOB)) <= 1024),
    request_id         TEXT             CHECK (length(CAST(request_id AS BLOB)) <= 128),
    method             TEXT             CHECK (length(CAST(method AS BLOB)) <= 32),
    route              TEXT             CHECK (length(CAST(route AS BLOB)) <= 512),
    path               TEXT             CHECK (length(CAST(path AS BLOB)) <= 1024),
    client_address     TEXT             CHECK (length(CAST(client_address AS BLOB)) <= 64),
    user_agent         TEXT             CHECK (length(CAST(user_agent AS BLOB)) <= 512),
    trace_id           TEXT             CHECK (length(CAST(trace_id AS BLOB)) = 32),
    span_id            TEXT             CHECK (length(CAST(span_id AS BLOB)) = 16),
    changes            TEXT    NOT NULL DEFAULT '{}' CHECK (length(CAST(changes AS BLOB)) <= 1048576 AND json_valid(changes)),
    details            TEXT    NOT NULL DEFAULT '{}' CHECK (length(CAST(details AS BLOB)) <= 1048576 AND json_valid(details)),
    cut                TEXT    NOT NULL DEFAULT '[]' CHECK (length(CAST(cut AS BLOB)) <= 1048576 AND json_valid(cut)),
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
-- INSERT OR REPLACE deletes the old row without firing delete triggers.
CREATE TRIGGER {schema}_record_no_replace BEFORE INSERT ON {schema}_record
WHEN EXISTS (SELECT 1 FROM {schema}_record WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: replacing a record of {schema}_record was refused');
END;
-- A record with an empty id would resolve every obligation. A trigger in addition to the CHECK
-- constraint, because PRAGMA ignore_check_constraints disables the latter.
CREATE TRIGGER {schema}_record_no_empty_id BEFORE INSERT ON {schema}_record
WHEN NEW.id = ''
BEGIN
    SELECT RAISE(ABORT, 'unaudited change: an audit record without an id was refused');
END;
