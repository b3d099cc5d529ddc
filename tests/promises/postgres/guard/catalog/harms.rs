//! Changes of an audit schema.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Log;

/// One change of an object, and the object that the finding must name.
pub(super) struct Harm {
    pub(super) statement: String,
    pub(super) object: String,
}

fn harm(object: &str, statement: String) -> Harm {
    Harm {
        statement,
        object: object.to_owned(),
    }
}

/// Changes of every object, in batches whose findings do not hide each other.
pub(super) fn harms(log: &Log, rows: &[Value]) -> Vec<(&'static str, Vec<Harm>)> {
    let field = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let of = |kind: &str| -> Vec<(String, String)> {
        rows.iter()
            .filter(|row| row["kind"] == kind)
            .map(|row| (field(row, "object"), field(row, "definition")))
            .collect()
    };
    let each = |kind: &str, change: &dyn Fn(&str, &str) -> Option<String>| -> Vec<Harm> {
        of(kind)
            .iter()
            .filter_map(|(object, definition)| Some(harm(object, change(object, definition)?)))
            .collect()
    };
    // Splits `schema.table.name` into `schema.table` and `name`.
    fn on(object: &str) -> (&str, &str) {
        object.rsplit_once('.').unwrap()
    }
    let is_table = |definition: &str| definition.starts_with("TABLE");
    let schema = log.schema;
    let owner = &log.owner;
    let mut batches: Vec<(&'static str, Vec<Harm>)> = vec![
        ("trigger disabled", each("trigger", &|it, _| {
            let (table, name) = on(it);
            Some(format!("ALTER TABLE ONLY {table} DISABLE TRIGGER {name}"))
        })),
        ("trigger not ALWAYS", each("trigger", &|it, _| {
            let (table, name) = on(it);
            Some(format!("ALTER TABLE ONLY {table} ENABLE TRIGGER {name}"))
        })),
        ("trigger for replicas only", each("trigger", &|it, _| {
            let (table, name) = on(it);
            Some(format!("ALTER TABLE ONLY {table} ENABLE REPLICA TRIGGER {name}"))
        })),
        ("trigger dropped", each("trigger", &|it, _| {
            let (table, name) = on(it);
            Some(format!("DROP TRIGGER {name} ON {table}"))
        })),
        ("trigger that never fires", each("trigger", &|it, definition| {
            let (table, name) = on(it);
            let never = definition.replace(" EXECUTE FUNCTION", " WHEN (false) EXECUTE FUNCTION");
            Some(format!("DROP TRIGGER {name} ON {table}; {never}; ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"))
        })),
        ("trigger of one column", each("trigger", &|it, definition| {
            let (table, name) = on(it);
            definition.contains("UPDATE ON").then(|| {
                let one = definition.replace("UPDATE ON", "UPDATE OF reason ON");
                format!("DROP TRIGGER {name} ON {table}; {one}; ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
            })
        })),
        ("trigger of fewer events", each("trigger", &|it, definition| {
            let (table, name) = on(it);
            definition.contains("DELETE OR UPDATE").then(|| {
                let fewer = definition.replace("DELETE OR UPDATE", "UPDATE");
                format!("DROP TRIGGER {name} ON {table}; {fewer}; ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
            })
        })),
        ("trigger with another function", each("trigger", &|it, definition| {
            let (table, name) = on(it);
            let (before, _) = definition.split_once("EXECUTE FUNCTION").unwrap();
            Some(format!("CREATE OR REPLACE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
                DROP TRIGGER {name} ON {table}; {before} EXECUTE FUNCTION public.nothing(); ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"))
        })),
        ("another trigger", each("relation", &|it, definition| is_table(definition).then(|| format!(
            "CREATE OR REPLACE FUNCTION public.other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER aaa BEFORE INSERT ON {it} FOR EACH ROW EXECUTE FUNCTION public.other()")))),
        ("a rule", each("relation", &|it, definition| is_table(definition).then(|| format!("CREATE RULE nothing AS ON INSERT TO {it} DO INSTEAD NOTHING")))),
        ("row-level security", each("row_security", &|it, _| Some(format!("ALTER TABLE {it} ENABLE ROW LEVEL SECURITY")))),
        ("forced row-level security", each("row_security", &|it, _| Some(format!("ALTER TABLE {it} FORCE ROW LEVEL SECURITY")))),
        ("a policy", each("row_security", &|it, _| Some(format!("CREATE POLICY all_of_it ON {it}")))),
        ("unlogged", each("persistence", &|it, definition| (definition == "LOGGED").then(|| format!("ALTER TABLE {it} SET UNLOGGED")))),
        ("replica identity", each("replica_identity", &|it, _| Some(format!("ALTER TABLE {it} REPLICA IDENTITY FULL")))),
        ("a storage option", each("relation", &|it, definition| is_table(definition).then(|| format!("ALTER TABLE {it} SET (autovacuum_enabled = off)")))),
        ("a view's option", each("relation", &|it, definition| definition.starts_with("VIEW").then(|| format!("ALTER VIEW {it} SET (security_barrier)")))),
        ("a default of a view's column", each("relation", &|it, definition| definition.starts_with("VIEW")
            .then(|| format!("ALTER VIEW {it} ALTER COLUMN service SET DEFAULT 'other'")))),
        ("another owner of an event trigger", each("event_trigger", &|it, _| Some(format!(
            "ALTER ROLE {0} SUPERUSER; ALTER EVENT TRIGGER {it} OWNER TO {0}; ALTER ROLE {0} NOSUPERUSER", log.stranger))).into_iter().take(1).collect()),
        ("an inheriting table in another schema", each("relation", &|it, definition| (definition == "TABLE").then(|| {
            let child = format!("elsewhere.child_of_{}", it.rsplit('.').next().unwrap());
            format!("CREATE SCHEMA IF NOT EXISTS elsewhere; CREATE TABLE {child} () INHERITS ({it})")
        })).into_iter().map(|harm| Harm { object: harm.object.replace(schema, "elsewhere").replace("elsewhere.", "elsewhere.child_of_"), ..harm }).collect()),
        ("detached", each("parent", &|it, definition| definition.starts_with("PARTITION").then(|| format!("ALTER TABLE {schema}.record DETACH PARTITION {it}")))),
        ("an added column", each("relation", &|it, definition| (is_table(definition) && !it.contains("record_")).then(|| format!("ALTER TABLE {it} ADD COLUMN more text")))),
        ("a renamed column", each("column", &|it, _| {
            let (table, name) = on(it);
            (!table.contains("record_")).then(|| format!("ALTER TABLE {table} RENAME COLUMN {name} TO other_{name}"))
        })),
        ("a column's storage", each("storage", &|it, definition| {
            let (table, name) = on(it);
            let other = if matches!(definition, "PLAIN" | "EXTERNAL") { "EXTENDED" } else { "EXTERNAL" };
            Some(format!("ALTER TABLE ONLY {table} ALTER COLUMN {name} SET STORAGE {other}"))
        })),
        ("no default", each("default", &|it, _| {
            let (table, name) = on(it);
            Some(format!("ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT"))
        })),
        ("another default", each("default", &|it, _| {
            let (table, name) = on(it);
            Some(match name {
                "recorded_at" => format!("ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT '2000-01-01 00:00+00'"),
                "xid" => format!("ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT '3'"),
                "cut" => format!("ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT '[1]'"),
                _ => format!("ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT null"),
            })
        })),
        ("a default where there is none", each("column", &|it, definition| {
            let (table, name) = on(it);
            (definition == "text" && rows.iter().all(|row| row["kind"] != "default" || row["object"] != it))
                .then(|| format!("ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT 'x'"))
        })),
        ("NOT NULL dropped", each("not_null", &|it, _| {
            let (table, name) = on(it);
            Some(format!("ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL"))
        })),
        ("NOT NULL added", each("column", &|it, _| {
            let (table, name) = on(it);
            rows.iter().all(|row| row["kind"] != "not_null" || row["object"] != it)
                .then(|| format!("ALTER TABLE {table} ALTER COLUMN {name} SET NOT NULL"))
        })),
        ("index dropped", each("index", &|it, _| Some(format!("DROP INDEX {it}")))),
        ("an added index", each("relation", &|it, definition| is_table(definition).then(|| format!("CREATE INDEX ON {it} ((1))")))),
        ("constraint dropped", each("constraint", &|it, _| {
            let (table, name) = on(it);
            Some(format!("ALTER TABLE {table} DROP CONSTRAINT {name}"))
        })),
        ("an added constraint", each("relation", &|it, definition| is_table(definition).then(|| format!("ALTER TABLE ONLY {it} ADD CONSTRAINT nothing CHECK (false) NOT VALID")))),
        ("view that hides", each("relation", &|it, definition| definition.starts_with("VIEW").then(|| {
            let query = definition.split_once(" AS\n").unwrap().1.trim_end_matches(';');
            format!("CREATE OR REPLACE VIEW {it} AS SELECT * FROM ({query}) AS it LIMIT 0")
        }))),
        ("view dropped", each("relation", &|it, definition| definition.starts_with("VIEW").then(|| format!("DROP VIEW {it} CASCADE")))),
        ("function with another body", each("routine", &|_, definition| {
            let body = definition.find("\nAS $")? + "\nAS $".len();
            let body = body + definition[body..].find('$')? + 1;
            Some(format!("{} /* changed */ {}", &definition[..body], &definition[body..]))
        })),
        ("function with other privileges", each("routine", &|it, definition| {
            let other = if definition.contains("SECURITY DEFINER") { "INVOKER" } else { "DEFINER" };
            Some(format!("ALTER FUNCTION {it} SECURITY {other}"))
        })),
        ("function of another volatility", each("routine", &|it, definition| {
            let other = if definition.contains(" IMMUTABLE") { "VOLATILE" } else { "IMMUTABLE" };
            Some(format!("ALTER FUNCTION {it} {other}"))
        })),
        ("function with another path", each("routine", &|it, _| Some(format!("ALTER FUNCTION {it} SET search_path = public")))),
        ("function that is strict", each("routine", &|it, _| Some(format!("ALTER FUNCTION {it} STRICT")))),
        ("function renamed", each("routine", &|it, _| Some(format!("ALTER FUNCTION {it} RENAME TO other_name")))),
        ("type with a default", each("type", &|it, _| Some(format!("ALTER DOMAIN {it} SET DEFAULT 'x'")))),
        ("type with NOT NULL", each("type", &|it, _| Some(format!("ALTER DOMAIN {it} SET NOT NULL")))),
        ("type with more constraints", each("type", &|it, _| Some(format!("ALTER DOMAIN {it} ADD CONSTRAINT nothing CHECK (VALUE IS NOT NULL) NOT VALID")))),
        ("type with fewer constraints", each("domain_constraint", &|it, _| {
            let (domain, name) = on(it);
            Some(format!("ALTER DOMAIN {domain} DROP CONSTRAINT {name}"))
        })),
        ("owned by the service", each("owner", &|it, _| Some(format!("ALTER {it} OWNER TO {}", log.app)))),
        ("owned by a stranger", each("owner", &|it, _| Some(format!("ALTER {it} OWNER TO {}", log.stranger)))),
        ("an unexpected object", [
            ("planted()", "CREATE FUNCTION {s}.planted() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
            ("planted_procedure()", "CREATE PROCEDURE {s}.planted_procedure() LANGUAGE sql AS 'SELECT 1'"),
            ("queue_check(regclass)", "CREATE FUNCTION {s}.queue_check(regclass) RETURNS void LANGUAGE sql AS 'SELECT NULL'"),
            ("planted_aggregate(integer)", "CREATE AGGREGATE {s}.planted_aggregate(int) (SFUNC = int4pl, STYPE = int)"),
            ("planted_table", "CREATE TABLE {s}.planted_table (id int)"),
            ("record_2020_13", "CREATE TABLE {s}.record_2020_13 (id int)"),
            ("record_2020_01", "CREATE TABLE {s}.record_2020_01 (LIKE {s}.record)"),
            ("planted_view", "CREATE VIEW {s}.planted_view AS SELECT 1 AS one"),
            ("planted_copy", "CREATE MATERIALIZED VIEW {s}.planted_copy AS SELECT 1 AS one"),
            ("planted_sequence", "CREATE SEQUENCE {s}.planted_sequence"),
            ("planted_domain", "CREATE DOMAIN {s}.planted_domain AS text"),
            ("planted_enum", "CREATE TYPE {s}.planted_enum AS ENUM ('a')"),
            ("planted_range", "CREATE TYPE {s}.planted_range AS RANGE (subtype = int)"),
            ("planted_type", "CREATE TYPE {s}.planted_type AS (one int)"),
            ("operator", "CREATE OPERATOR {s}.=== (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int)"),
            ("collation", "CREATE COLLATION {s}.planted_collation FROM \"C\""),
            ("conversion", "CREATE CONVERSION {s}.planted_conversion FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8"),
            ("text search configuration", "CREATE TEXT SEARCH CONFIGURATION {s}.planted_search (COPY = pg_catalog.simple)"),
            ("operator family", "CREATE OPERATOR FAMILY {s}.planted_family USING btree"),
            ("statistics object", "CREATE STATISTICS {s}.planted_statistics ON id, service FROM {s}.record"),
            ("default privileges", "ALTER DEFAULT PRIVILEGES FOR ROLE {o} IN SCHEMA {s} GRANT INSERT ON TABLES TO {a}"),
            ("default privileges on new sequences", "ALTER DEFAULT PRIVILEGES FOR ROLE {o} GRANT USAGE ON SEQUENCES TO {a}"),
            ("default privileges on new relations", "ALTER DEFAULT PRIVILEGES FOR ROLE {o} GRANT INSERT ON TABLES TO {a}"),
            ("cast", "CREATE CAST ({s}.planted_type AS text) WITH INOUT AS IMPLICIT"),
        ].into_iter().map(|(object, statement)| harm(object, statement.replace("{s}", schema).replace("{o}", owner).replace("{a}", &log.app))).collect()),
    ];
    for (label, role) in [
        ("granted to the service", &log.app),
        ("granted to a reader", &log.reader),
        ("granted to a stranger", &log.stranger),
        ("granted to everybody", &"PUBLIC".to_owned()),
    ] {
        let held: BTreeSet<String> = rows
            .iter()
            .filter(|row| row["kind"] == "privilege" && row["definition"] == role.as_str())
            .map(|row| field(row, "object"))
            .collect();
        let mut granted = Vec::new();
        let mut grant = |word: &str, object: &str, privileges: &[&str]| {
            for privilege in privileges {
                if !held.contains(&format!("{privilege} ON {word} {object} TO {role}")) {
                    granted.push(harm(
                        object,
                        format!("GRANT {privilege} ON {word} {object} TO {role}"),
                    ));
                }
            }
        };
        grant("SCHEMA", schema, &["CREATE"]);
        for (object, definition) in of("relation") {
            match definition.split(' ').next().unwrap() {
                "SEQUENCE" => grant("SEQUENCE", &object, &["SELECT", "USAGE", "UPDATE"]),
                "TYPE" => {}
                // Any role may be a reader, so every role may have a reader's SELECT privilege.
                kind => {
                    grant(
                        "TABLE",
                        &object,
                        &[
                            "INSERT",
                            "UPDATE",
                            "DELETE",
                            "TRUNCATE",
                            "REFERENCES",
                            "TRIGGER",
                        ],
                    );
                    if kind == "TABLE" && role != &log.app {
                        grant("TABLE", &object, &["SELECT"]);
                    }
                }
            }
        }
        for (object, _) in of("routine") {
            if role == "PUBLIC" || !object.contains("record_read") {
                grant("FUNCTION", &object, &["EXECUTE"]);
            }
        }
        batches.push((label, granted));
    }
    let columns = of("column").into_iter().flat_map(|(column, _)| {
        let (table, name) = column.rsplit_once('.').unwrap();
        ["INSERT", "UPDATE", "REFERENCES"].map(|privilege| {
            harm(
                table,
                format!("GRANT {privilege} ({name}) ON {table} TO {}", log.stranger),
            )
        })
    });
    batches.push(("one column granted", columns.collect()));
    let needed = rows
        .iter()
        .filter(|row| row["kind"] == "privilege" && row["definition"] == log.app.as_str());
    let taken = needed.map(|row| {
        let privilege = field(row, "object");
        let (privilege, _) = privilege.rsplit_once(" TO ").unwrap();
        harm(schema, format!("REVOKE {privilege} FROM {}", log.app))
    });
    batches.push(("taken from the service", taken.collect()));
    batches
}
