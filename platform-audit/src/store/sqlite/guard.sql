CREATE TRIGGER {trigger} AFTER {event} ON {table} BEGIN
    SELECT RAISE(ABORT, 'unaudited change: a guarded table can only be changed with PRAGMA foreign_keys = ON')
        WHERE (SELECT foreign_keys FROM pragma_foreign_keys) = 0;
    -- SQLite forgets deferred violations when this pragma is turned off.
    SELECT RAISE(ABORT, 'unaudited change: a guarded table can only be changed with PRAGMA defer_foreign_keys = OFF')
        WHERE (SELECT defer_foreign_keys FROM pragma_defer_foreign_keys) <> 0;
    UPDATE {schema}_obligation SET relation = {name}, changed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), record_id = '';
END
