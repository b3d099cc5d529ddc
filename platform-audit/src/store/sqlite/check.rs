//! Finds every difference between the audit schema of a file and what the migrations make.

use std::collections::BTreeMap;

use super::super::{AuditDatabase, Schema};
use super::expected::{Object, expected};
use super::guard::{guard_prefix, guard_triggers};
use super::remedy::Remedies;
use crate::check::{Finding, FindingKind, RawFinding};
use crate::error::Error;

impl<DB: AuditDatabase> Schema<'_, DB> {
    /// Nothing else can be said of a schema of `other_version`.
    pub(in crate::store) async fn findings_on_sqlite(
        &mut self,
        other_version: Vec<RawFinding>,
    ) -> Result<Vec<Finding>, Error> {
        let expected = expected::<DB>(self.name).await?;
        let remedies = Remedies {
            schema: self.name,
            service: self.service,
            expected: &expected,
        };
        if !other_version.is_empty() {
            let findings = other_version.into_iter();
            return Ok(findings.map(|found| remedies.of_state(found)).collect());
        }
        let all = include_str!("objects.sql").replace("{where}", "true");
        let there: Vec<Object> = self.fetch_json(&all, Vec::new()).await?;
        let temporary: Vec<Object> = self
            .fetch_json(include_str!("temporary.sql"), Vec::new())
            .await?;

        let mut findings = differences(self.name, &there, &remedies);
        findings.extend(shadows(self.name, &temporary, &remedies));
        let is_there = |name: &str| {
            let name = format!("{}_{name}", self.name);
            let is_it = |object: &&Object| object.kind == "table" && object.name == name;
            there.iter().find(is_it) == expected.iter().find(is_it)
        };
        let (counted, exempting) = (
            is_there("record") && is_there("obligation"),
            is_there("exemption"),
        );
        let exempt: Vec<String> = if exempting {
            let exempt = "SELECT json_group_array(relation) FROM main.{schema}_exemption";
            self.fetch_json(exempt, Vec::new()).await?
        } else {
            Vec::new()
        };
        findings.extend(unguarded(self.name, &there, &exempt, &remedies));
        if counted {
            let state: Vec<RawFinding> = self
                .fetch_json(include_str!("check.sql"), Vec::new())
                .await?;
            findings.extend(state.into_iter().map(|found| remedies.of_state(found)));
        }
        Ok(findings)
    }
}

fn is_of_the_log(expected: &[Object], table: &str) -> bool {
    expected
        .iter()
        .any(|object| object.kind == "table" && object.name.eq_ignore_ascii_case(table))
}

/// What is missing, changed, or there besides.
fn differences(schema: &str, there: &[Object], remedies: &Remedies<'_>) -> Vec<Finding> {
    let expected = remedies.expected;
    let by_name: BTreeMap<&str, &Object> =
        there.iter().map(|object| (&*object.name, object)).collect();
    let mut findings = Vec::new();
    for wanted in expected {
        match by_name.get(&*wanted.name) {
            None => findings.push(remedies.of_missing(wanted)),
            // The migrator's own, whose text may be that of another version of it.
            Some(found)
                if wanted.name == format!("{schema}_migration") && found.kind == wanted.kind => {}
            Some(found) if *found != wanted => findings.push(remedies.of_changed(wanted, found)),
            Some(_) => {}
        }
    }
    let besides = there.iter().filter(|object| {
        let is_known = expected.iter().any(|wanted| wanted.name == object.name);
        // Whether it is as it should be, is said of the table.
        let is_guard = || {
            let guards = guard_triggers(schema, &object.table);
            guards.iter().any(|guard| guard.name == object.name)
        };
        let belongs = is_of_the_log(expected, &object.table)
            || object.kind == "trigger" && object.name.starts_with(&guard_prefix(schema));
        belongs && !is_known && !is_guard()
    });
    findings.extend(besides.map(|object| remedies.of_unexpected(object, "main")));
    findings
}

/// What on this connection stands in for the log, or acts when it is written.
fn shadows(schema: &str, temporary: &[Object], remedies: &Remedies<'_>) -> Vec<Finding> {
    let shadowing = temporary.iter().filter(|object| {
        is_of_the_log(remedies.expected, &object.table)
            || object.name.starts_with(&guard_prefix(schema))
    });
    shadowing
        .map(|object| remedies.of_unexpected(object, "temp"))
        .collect()
}

/// The service's tables that can be changed without a record.
fn unguarded(
    schema: &str,
    there: &[Object],
    exempt: &[String],
    remedies: &Remedies<'_>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let business = there.iter().filter(|object| {
        object.kind == "table"
            && !object.name.starts_with("sqlite_")
            // The migrator's own bookkeeping.
            && object.name != "_sqlx_migrations"
            && !is_of_the_log(remedies.expected, &object.name)
            && !exempt.contains(&object.name)
    });
    for table in business {
        let triggers = guard_triggers(schema, &table.name);
        let missing: Vec<_> = triggers
            .iter()
            .filter(|trigger| !there.contains(trigger))
            .collect();
        if missing.len() == triggers.len() {
            findings.push(remedies.of_guard(FindingKind::TableUnguarded, &table.name, &missing));
        } else {
            findings.extend(missing.iter().map(|trigger| {
                remedies.of_guard(FindingKind::GuardMissing, &table.name, &[trigger])
            }));
        }
    }
    findings
}
