//! Counts and summaries, on both stores.

use platform_audit::query::{AuditQuery, GroupBy};

use super::cases::{Log, record, record_with};

#[tokio::test]
async fn each_value_of_a_summary_can_be_queried_with_the_same_count() {
    let log = Log::with(&[
        record(1),
        record_with(2, "actor_id", "bob"),
        record_with(3, "outcome", "denied"),
        record_with(4, "resource_type", "entry"),
        record(86_400 * 4),
        record(86_400 * 5),
        record(86_400 * 5 + 7_200),
    ])
    .await;
    // The first and last records share periods with others, but are outside the query.
    let query = AuditQuery::new()
        .since("2025-01-01T00:00:02Z".parse().unwrap())
        .until("2025-01-06T01:00:00Z".parse().unwrap());
    for group in [
        GroupBy::Action,
        GroupBy::Actor,
        GroupBy::Outcome,
        GroupBy::ResourceType,
        GroupBy::Month,
        GroupBy::Week,
        GroupBy::Day,
        GroupBy::Hour,
    ] {
        let counts = log.reading.summary(&query, group).await.unwrap();
        let all: u64 = counts.iter().map(|it| it.records).sum();
        assert_eq!(all, 5, "{group:?}");
        for count in counts {
            let Some(only) = group.narrow(&query, &count.value) else {
                assert_eq!(count.value, "", "{group:?}");
                continue;
            };
            let found = log.reading.count(&only).await.unwrap();
            assert_eq!(found, count.records, "{group:?} {}", count.value);
        }
    }
    for (group, wrong) in [
        (GroupBy::Month, "2025"),
        (GroupBy::Week, "x"),
        (GroupBy::Day, "2025-02-30"),
        (GroupBy::Hour, "2025-01-01"),
        (GroupBy::Outcome, "fine"),
        (GroupBy::Actor, ""),
    ] {
        assert_eq!(group.narrow(&query, wrong), None, "{group:?}");
    }
}

#[tokio::test]
async fn a_summary_counts_records_by_each_attribute_and_period() {
    let log = Log::with(&[
        record(1),
        record_with(2, "actor_id", "bob"),
        record_with(3, "outcome", "denied"),
        record_with(86_400, "action", "entry.delete"),
    ])
    .await;
    let query = AuditQuery::new().until("2026-01-01T00:00:00Z".parse().unwrap());
    let by = async |group| -> Vec<(String, u64)> {
        let counts = log.reading.summary(&query, group).await.unwrap();
        counts
            .into_iter()
            .map(|it| (it.value, it.records))
            .collect()
    };
    let pairs = |of: &[(&str, u64)]| -> Vec<(String, u64)> {
        of.iter()
            .map(|(value, n)| ((*value).to_owned(), *n))
            .collect()
    };
    assert_eq!(by(GroupBy::Actor).await, pairs(&[("ada", 3), ("bob", 1)]));
    assert_eq!(
        by(GroupBy::Action).await,
        pairs(&[("entry.create", 3), ("entry.delete", 1)])
    );
    assert_eq!(
        by(GroupBy::Outcome).await,
        pairs(&[("success", 3), ("denied", 1)])
    );
    assert_eq!(by(GroupBy::ResourceType).await, pairs(&[("", 4)]));
    assert_eq!(
        by(GroupBy::Day).await,
        pairs(&[("2025-01-01", 3), ("2025-01-02", 1)])
    );
    assert_eq!(by(GroupBy::Month).await, pairs(&[("2025-01", 4)]));
    // The Monday of the week of 1 January 2025, a Wednesday.
    assert_eq!(by(GroupBy::Week).await, pairs(&[("2024-12-30", 4)]));
    assert_eq!(
        by(GroupBy::Hour).await,
        pairs(&[("2025-01-01T00", 3), ("2025-01-02T00", 1)])
    );
    assert_eq!(log.reading.count(&query).await.unwrap(), 4);
}
