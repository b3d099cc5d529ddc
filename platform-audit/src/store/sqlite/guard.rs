//! The triggers that guard a table.

use super::super::{AuditDatabase, Schema};
use super::expected::Object;
use crate::error::Error;
use crate::sql::{identifier, literal};

const EVENTS: [&str; 3] = ["insert", "update", "delete"];

/// The prefix of the names of guard triggers.
pub(super) fn guard_prefix(schema: &str) -> String {
    format!("{schema}_guard_")
}

/// Returns the triggers that guard `table`, with their text as in `sqlite_schema`, which stores it
/// verbatim.
pub(super) fn guard_triggers(schema: &str, table: &str) -> [Object; 3] {
    EVENTS.map(|event| {
        let name = format!("{}{table}_{event}", guard_prefix(schema));
        let sql = include_str!("guard.sql")
            .trim_end()
            .replace("{event}", event)
            .replace("{schema}", schema)
            .replace("{name}", &literal(table))
            .replace("{table}", &identifier(table))
            .replace("{trigger}", &identifier(&name));
        Object::trigger(name, table.to_owned(), sql)
    })
}

impl<DB: AuditDatabase> Schema<'_, DB> {
    /// Guards `table`, and replaces triggers that differ from the expected ones.
    pub(in crate::store) async fn guard_on_sqlite(&mut self, table: &str) -> Result<(), Error> {
        let triggers = guard_triggers(self.name, table);
        let names = triggers.each_ref().map(|trigger| literal(&trigger.name));
        let found: Vec<Object> = self
            .fetch_json(
                &include_str!("objects.sql")
                    .replace("{where}", &format!("name IN ({})", names.join(", "))),
                Vec::new(),
            )
            .await?;
        let exempt = format!(
            "SELECT relation FROM {}_exemption WHERE relation = $1",
            self.name
        );
        let exempt = self.fetch(exempt, vec![table.to_owned()]).await?;
        if exempt.is_none() && triggers.iter().all(|trigger| found.contains(trigger)) {
            return Ok(());
        }
        let mut statements: String = triggers.iter().map(Object::create_anew).collect();
        statements.push_str(&format!(
            "DELETE FROM {}_exemption WHERE relation = {};",
            self.name,
            literal(table)
        ));
        self.run_together(statements).await
    }

    pub(in crate::store) async fn exempt_on_sqlite(
        &mut self,
        table: &str,
        reason: &str,
    ) -> Result<(), Error> {
        let triggers = guard_triggers(self.name, table);
        let dropped = triggers
            .iter()
            .map(|trigger| format!("DROP TRIGGER IF EXISTS {};\n", identifier(&trigger.name)));
        let exemption = format!(
            "INSERT INTO {}_exemption (relation, reason) VALUES ({}, {})
                ON CONFLICT (relation) DO UPDATE SET reason = excluded.reason WHERE reason <> excluded.reason;",
            self.name,
            literal(table),
            literal(reason)
        );
        self.run_together(format!("{}{exemption}", dropped.collect::<String>()))
            .await
    }
}
