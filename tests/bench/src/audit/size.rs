//! The size of a record on disk.

use serde_json::{Map, Value};

use super::Subject;

/// Reports the bytes per record of the table and of each of its indexes, over all partitions.
pub(super) async fn report(subjects: &[Subject], figures: &mut Map<String, Value>) {
    say!("bytes on disk per record");
    for subject in subjects
        .iter()
        .filter(|subject| !subject.scheme.records.is_empty())
    {
        let scheme = subject.scheme;
        sqlx::raw_sql("VACUUM")
            .execute(&subject.pool)
            .await
            .expect("VACUUM succeeds");
        let sizes: Vec<(String, i64, i64)> = sqlx::query_as(
            "WITH leaf AS (SELECT COALESCE(tree.relid, $1::regclass) AS oid FROM (SELECT) AS one LEFT JOIN pg_partition_tree($1::regclass) AS tree ON tree.isleaf),
            part AS (
                SELECT 'table' AS name, oid FROM leaf
                UNION ALL SELECT COALESCE(parent.relname, class.relname), class.oid
                FROM leaf JOIN pg_index ON indrelid = leaf.oid JOIN pg_class AS class ON class.oid = indexrelid
                LEFT JOIN pg_inherits ON inhrelid = class.oid LEFT JOIN pg_class AS parent ON parent.oid = inhparent
            )
            SELECT name, sum(pg_relation_size(oid))::bigint,
                (SELECT sum(reltuples)::bigint FROM leaf JOIN pg_class USING (oid) WHERE reltuples > 0)
            FROM part GROUP BY name ORDER BY name <> 'table', name",
        )
        .bind(scheme.records)
        .fetch_all(&subject.pool)
        .await
        .expect("the catalogue has the sizes");
        let mut parts = String::new();
        for (name, bytes, records) in sizes {
            #[expect(clippy::cast_precision_loss, reason = "a mean")]
            let per_record = (bytes as f64 / records as f64).round();
            parts += &format!(" {name} {per_record},");
            figures.insert(
                format!("audit.{}.bytes.{name}", scheme.key),
                per_record.into(),
            );
        }
        say!("  {:<34}{}", scheme.name, parts.trim_end_matches(','));
    }
    say!();
}
