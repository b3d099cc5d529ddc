-- What lets a change be committed without its record, or a record be changed.
WITH business AS (
    SELECT name FROM sqlite_schema
    WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT IN ('{schema}_record', '{schema}_obligation', '{schema}_exemption', '{schema}_migration')
        AND name <> '_sqlx_migrations' -- the migrator's own bookkeeping
        AND name NOT IN (SELECT relation FROM {schema}_exemption)
), event (name) AS (VALUES ('insert'), ('update'), ('delete')), guards AS (
    SELECT business.name AS object, '{schema}_guard_' || business.name || '_' || event.name AS trigger, EXISTS (
        SELECT 1 FROM sqlite_schema AS found
        WHERE type = 'trigger' AND tbl_name = business.name AND found.name = '{schema}_guard_' || business.name || '_' || event.name
            AND sql LIKE '%UPDATE {schema}_obligation SET%'
    ) AS there
    FROM business, event
), kept (object, name) AS (VALUES
    ('{schema}_record', '{schema}_record_no_update'), ('{schema}_record', '{schema}_record_no_delete'), ('{schema}_record', '{schema}_record_no_replace'),
    ('{schema}_obligation', '{schema}_obligation_no_delete'), ('{schema}_obligation', '{schema}_obligation_no_replace'), ('{schema}_obligation', '{schema}_obligation_met_by_record')
), findings (finding, object, detail) AS (
    SELECT 'table_unguarded', object, '' FROM guards GROUP BY object HAVING NOT max(there)
    UNION ALL SELECT 'guard_missing', object, trigger FROM guards AS it
        WHERE NOT there AND EXISTS (SELECT 1 FROM guards WHERE guards.object = it.object AND there)
    UNION ALL SELECT 'append_only_missing', object, name FROM kept
        WHERE NOT EXISTS (SELECT 1 FROM sqlite_schema AS found WHERE type = 'trigger' AND found.name = kept.name)
    UNION ALL SELECT 'foreign_keys_off', 'the connection', '' FROM pragma_foreign_keys WHERE foreign_keys = 0
)
SELECT json_group_array(json_object('finding', finding, 'object', object, 'detail', detail)) FROM (SELECT * FROM findings ORDER BY 1, 2, 3)
