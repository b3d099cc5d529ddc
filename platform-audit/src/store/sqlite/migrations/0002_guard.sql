-- The guard: SQLite itself requires the record. It has no deferred triggers, but deferred foreign
-- keys. A change of a guarded table opens an obligation: a row that references a record that does
-- not exist, so that COMMIT fails. The next success record resolves the obligation, so it has to be
-- inserted after the last change.
CREATE TABLE {schema}_obligation (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    relation   TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    record_id  TEXT REFERENCES {schema}_record (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;
-- The only row is never deleted. Triggers update it, because an INSERT in a trigger would be
-- ignored if the outer statement is INSERT OR IGNORE.
INSERT INTO {schema}_obligation VALUES (1, '', '', NULL);

-- The record of a reading resolves no obligation, so that the log can be read while one is open.
CREATE TRIGGER {schema}_record_resolves AFTER INSERT ON {schema}_record
WHEN NEW.outcome = 'success' AND NEW.action <> 'audit.read'
BEGIN
    UPDATE {schema}_obligation SET record_id = NEW.id WHERE record_id = '';
END;

CREATE TRIGGER {schema}_obligation_no_delete BEFORE DELETE ON {schema}_obligation
BEGIN
    SELECT RAISE(ABORT, 'unaudited change: an obligation is met by an audit record, not deleted');
END;
CREATE TRIGGER {schema}_obligation_no_replace BEFORE INSERT ON {schema}_obligation
BEGIN
    SELECT RAISE(ABORT, 'unaudited change: an obligation is met by an audit record, not replaced');
END;
CREATE TRIGGER {schema}_obligation_met_by_record BEFORE UPDATE ON {schema}_obligation
WHEN NEW.record_id IS NULL OR NEW.id <> 1 OR NEW.record_id <> '' AND NOT EXISTS (
    SELECT 1 FROM {schema}_record
    WHERE id = NEW.record_id AND outcome = 'success' AND action <> 'audit.read' AND recorded_at >= OLD.changed_at)
BEGIN
    SELECT RAISE(ABORT, 'unaudited change: an obligation is met by a record that is newer than the change');
END;

-- Tables that need no records. Only the toolkit changes this table.
CREATE TABLE {schema}_exemption (
    relation    TEXT NOT NULL PRIMARY KEY,
    reason      TEXT NOT NULL CHECK (reason <> ''),
    exempted_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT, WITHOUT ROWID;
