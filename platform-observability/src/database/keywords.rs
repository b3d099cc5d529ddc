//! SQL keywords.

/// The verbs that begin a statement. Any other first word could be data.
#[rustfmt::skip]
pub(super) const VERBS: &[&str] = &[
    "ALTER", "ANALYZE", "ATTACH", "BEGIN", "CALL", "CLOSE", "COMMENT", "COMMIT", "COPY", "CREATE",
    "DECLARE", "DELETE", "DETACH", "DISCARD", "DO", "DROP", "END", "EXECUTE", "EXPLAIN", "FETCH",
    "GRANT", "INSERT", "LISTEN", "LOCK", "MERGE", "NOTIFY", "PRAGMA", "PREPARE", "REASSIGN",
    "REFRESH", "REINDEX", "RELEASE", "REPLACE", "RESET", "REVOKE", "ROLLBACK", "SAVEPOINT",
    "SELECT", "SET", "SHOW", "START", "TABLE", "TRUNCATE", "UNLISTEN", "UPDATE", "VACUUM", "VALUES",
    "WITH",
];

/// Words that end the list of tables after FROM, or cannot be a table.
#[rustfmt::skip]
pub(super) const NOT_TABLES: &[&str] = &[
    "AS", "CROSS", "DEFAULT", "DO", "EXCEPT", "FETCH", "FOR", "FULL", "GROUP", "HAVING", "INNER",
    "INTERSECT", "INTO", "JOIN", "LATERAL", "LEFT", "LIMIT", "NATURAL", "OFFSET", "ON", "ONLY",
    "ORDER", "OUTER", "RETURNING", "RIGHT", "SELECT", "SET", "TABLESAMPLE", "UNION", "USING",
    "VALUES", "WHEN", "WHERE", "WINDOW",
];
