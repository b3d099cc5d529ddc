-- Finds an open obligation, damaged rows and unsafe settings of the connection. Run only if the
-- tables match the migrations.
WITH findings (finding, object, detail) AS (
    SELECT 'obligation_open', relation, changed_at FROM main.{schema}_obligation WHERE record_id = ''
    UNION ALL SELECT 'schema_differs', '{schema}_obligation', 'lost' FROM main.{schema}_obligation
        WHERE record_id <> '' AND NOT EXISTS (SELECT 1 FROM main.{schema}_record WHERE id = record_id)
    UNION ALL SELECT 'schema_differs', '{schema}_obligation', 'rows'
        WHERE NOT EXISTS (SELECT 1 FROM main.{schema}_obligation)
    UNION ALL SELECT 'schema_differs', '{schema}_record', 'nameless'
        WHERE EXISTS (SELECT 1 FROM main.{schema}_record WHERE id = '')
    UNION ALL SELECT 'foreign_keys_off', 'the connection', '' FROM pragma_foreign_keys WHERE foreign_keys = 0
    UNION ALL SELECT 'setting_unsafe', 'the connection', 'ignore_check_constraints' FROM pragma_ignore_check_constraints WHERE ignore_check_constraints <> 0
    UNION ALL SELECT 'setting_unsafe', 'the connection', 'writable_schema' FROM pragma_writable_schema WHERE writable_schema <> 0
    UNION ALL SELECT 'setting_unsafe', 'the connection', 'trusted_schema' FROM pragma_trusted_schema WHERE trusted_schema = 0
    UNION ALL SELECT 'setting_unsafe', 'the connection', 'journal_mode' FROM pragma_journal_mode WHERE journal_mode = 'off'
)
SELECT json_group_array(json_object('finding', finding, 'object', object, 'detail', detail)) FROM (SELECT * FROM findings ORDER BY 1, 2, 3)
