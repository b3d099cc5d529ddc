-- How far the log is sealed.
SELECT json_object(
    'size', size,
    'unsealed_for', (julianday('now') - julianday((
        SELECT record.recorded_at FROM {schema}_unsealed AS unsealed
            JOIN {schema}_record AS record ON record.id = unsealed.id
        ORDER BY unsealed.number LIMIT 1))) * 86400.0
) FROM {schema}_tree
