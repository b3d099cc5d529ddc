//! The names of the audit schema need no quotes on any server version.

use serde_json::Value;

const EXPECTED: &str = include_str!("../../../../platform-audit/src/store/postgres/expected.json");

/// The names that Postgres 18 quotes: its `pg_get_keywords()` that are not unreserved.
const KEYWORDS: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit
    boolean both case cast char character check coalesce collate collation column concurrently constraint create cross
    current_catalog current_date current_role current_schema current_time current_timestamp current_user dec decimal
    default deferrable desc distinct do else end except exists extract false fetch float for foreign freeze from full
    grant greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull
    join json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize
    json_table json_value lateral leading least left like limit localtime localtimestamp merge_action national natural
    nchar none normalize not notnull null nullif numeric offset on only or order out outer overlaps overlay placing
    position precision primary real references returning right row select session_user setof similar smallint some
    substring symmetric system_user table tablesample then time timestamp to trailing treat trim true union unique user
    using values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest
    xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";

/// A newer server would quote a name that has become a keyword. The check would report every use of
/// it as changed, and no service would start there.
#[test]
fn no_name_of_the_audit_schema_is_a_keyword_of_a_newer_server() {
    let rows: Vec<Value> = serde_json::from_str(EXPECTED).unwrap();
    let named = ["relation", "column", "type", "trigger", "index", "routine"];
    let mut names = 0;
    for row in rows {
        if !named.contains(&row["kind"].as_str().unwrap()) {
            continue;
        }
        let object = row["object"].as_str().unwrap();
        let name = object.split('(').next().unwrap();
        for part in name.split('.') {
            let is_keyword = KEYWORDS.split_whitespace().any(|word| word == part);
            assert!(!is_keyword, "{object}");
            names += 1;
        }
    }
    assert!(names > 200, "{names}");
}
