SELECT json_object('role', '', 'exists', json('true'), 'readable', json('true'), 'reads', json('false'), 'may_migrate', json('true'),
    'migrated', json(iif(EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '{schema}_migration'), 'true', 'false')))
