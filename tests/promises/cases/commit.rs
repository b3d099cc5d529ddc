//! Every committed change has its record, with the documented content.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_committed_change_has_its_record() {
    let service = Service::start().await;
    let entry = Entry::new(10);
    let response = service
        .post("/entries?secret=query")
        .header("x-request-id", "req-1")
        .header("user-agent", "tests/1")
        .header("audit-reason", "month end")
        .json(&entry)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    let record = service.record_of(&response).await;
    assert_eq!(record, service.only_record().await);
    assert_eq!(service.entries().await, 1);
    assert_eq!(record.service, "ledger");
    assert_eq!(record.actor, Actor::user("ada").with_tenant("clinic-7"));
    assert_eq!(record.action, "entry.create");
    assert_eq!(record.resource_type.as_deref(), Some("entry"));
    assert_eq!(record.resource_id.as_deref(), Some(entry.id.as_str()));
    assert_eq!(record.outcome, Outcome::Success);
    assert_eq!(record.status, Some(201));
    assert_eq!(record.error_type, None);
    assert_eq!(record.reason.as_deref(), Some("month end"));
    assert_eq!(record.request_id.as_deref(), Some("req-1"));
    assert_eq!(record.method.as_deref(), Some("POST"));
    assert_eq!(record.route.as_deref(), Some("/entries"));
    assert_eq!(record.path.as_deref(), Some("/entries"));
    assert_eq!(record.client_address.as_deref(), Some("127.0.0.1"));
    assert_eq!(record.user_agent.as_deref(), Some("tests/1"));
    assert!(record.xid.is_some());
    assert!(record.cut.is_empty());
    let recorded_at = record
        .recorded_at
        .expect("the record contains the database's time");
    assert!((recorded_at - record.occurred_at).abs().get_seconds() < 60);
    assert_eq!(
        record.occurred_at.as_nanosecond() % 1000,
        0,
        "finer than the database stores"
    );
    assert_eq!(service.audit.status().committed, 1);
}

#[tokio::test]
async fn only_fields_that_differ_are_recorded_as_changes() {
    let service = Service::start().await;
    let mut entry = Entry::new(10);
    service.send("/entries", &entry).await;
    let path = format!("/entries/{}", entry.id);
    entry.amount = 11;
    let response = service
        .request(reqwest::Method::PUT, &path)
        .json(&entry)
        .send()
        .await
        .unwrap();
    let record = service.record_of(&response).await;
    assert_eq!(
        serde_json::to_value(&record.changes).unwrap(),
        json!({"amount": {"before": 10, "after": 11}})
    );
    assert_eq!(record.route.as_deref(), Some("/entries/{id}"));
    assert_eq!(record.path.as_deref(), Some(path.as_str()));
}

#[tokio::test]
async fn a_redacted_value_appears_in_no_record() {
    let service = Service::start().await;
    let mut entry = Entry::new(10);
    let created = service.send("/entries", &entry).await;
    let path = format!("/entries/{}", entry.id);
    entry.iban = format!("{IBAN}-next");
    let updated = service
        .request(reqwest::Method::PUT, &path)
        .json(&entry)
        .send()
        .await
        .unwrap();
    let deleted = service
        .request(reqwest::Method::DELETE, &path)
        .header("audit-reason", "test")
        .send()
        .await
        .unwrap();
    service.send("/fail/422", &entry).await;
    service.send("/panic", &entry).await;
    let change = async |response| {
        serde_json::to_value(&service.record_of(response).await.changes["iban"]).unwrap()
    };
    assert_eq!(change(&created).await, json!({"after": "[redacted]"}));
    assert_eq!(
        change(&updated).await,
        json!({"before": "[redacted]", "after": "[redacted]"})
    );
    assert_eq!(change(&deleted).await, json!({"before": "[redacted]"}));
    let all = service.all_records().await;
    assert_eq!(all.len(), 5);
    assert!(!serde_json::to_string(&all).unwrap().contains(IBAN));
    assert!(!format!("{all:?}").contains(IBAN));
}

#[tokio::test]
async fn several_records_share_one_transaction() {
    let service = Service::start().await;
    let entries: Vec<_> = (0..25).map(Entry::new).collect();
    let response = service.post("/import").json(&entries).send().await.unwrap();
    assert_eq!(response.status(), 201);
    let records = service.all_records().await;
    assert_eq!(records.len(), 25);
    assert_eq!(
        records[0].id,
        record_id(&response),
        "the response names the first"
    );
    assert!(records.iter().all(|record| record.xid == records[0].xid));
    assert!(records.iter().all(|record| record.details["count"] == 25));
    let mut recorded: Vec<_> = records
        .into_iter()
        .filter_map(|record| record.resource_id)
        .collect();
    let mut made: Vec<_> = entries.into_iter().map(|entry| entry.id).collect();
    recorded.sort();
    made.sort();
    assert_eq!(recorded, made);
}

/// One record alone, several, and more than fit into one message.
#[tokio::test]
async fn records_preserve_texts_exactly() {
    const TEXTS: [&str; 12] = [
        "plain",
        "",
        "NULL",
        "null",
        "a \"quoted\" word",
        r"C:\new\table \\ \",
        "{a,b},(c,d);",
        "two\nlines\r\n\tand a tab",
        "'; DROP TABLE entry; --",
        "Straße, 東京, 🩺",
        " spaces ",
        "$1 %s {} \u{202e}",
    ];
    // The characters with a meaning in the text format of a row.
    const SPECIAL: [&str; 11] = [
        ",", "(", ")", "\"", "\\", " ", "\t", "\n", "\u{b}", "{", "}",
    ];
    let service = Service::start().await;
    let alone = SPECIAL.chunks(1).chain(TEXTS.chunks(1));
    for texts in alone.chain([&TEXTS[1..3], &TEXTS, &[TEXTS; 40].concat()]) {
        let id = service
            .audit
            .transaction(
                Actor::system("O'Neil \"\\\""),
                "ledger.close",
                async |tx: &mut Tx| {
                    tx.reason("a \"good\" one, \\ really");
                    for text in texts {
                        let record = tx.record(format!("type {text}"), text);
                        record.detail("text", text).detail(*text, "the name");
                    }
                    Ok::<_, Failure>(tx.record_id())
                },
            )
            .await
            .unwrap();
        let all = service.all_records().await;
        let xid = &all.iter().find(|record| record.id == id).unwrap().xid;
        let written: Vec<_> = all.iter().filter(|record| record.xid == *xid).collect();
        assert_eq!(written.len(), texts.len());
        for (record, text) in written.iter().zip(texts) {
            assert_eq!(record.resource_id.as_deref(), Some(*text));
            assert_eq!(record.resource_type, Some(format!("type {text}")));
            assert_eq!(record.details["text"], *text);
            assert_eq!(record.details.get(*text).unwrap(), &json!("the name"));
            assert_eq!(record.actor.id, "O'Neil \"\\\"");
            assert_eq!(record.reason.as_deref(), Some("a \"good\" one, \\ really"));
        }
    }
}

#[tokio::test]
async fn a_handler_that_names_no_resource_is_recorded() {
    let service = Service::start().await;
    let response = service.post("/touch").send().await.unwrap();
    assert_eq!(response.status(), 204);
    let record = service.only_record().await;
    assert_eq!(
        (record.action.as_str(), record.outcome),
        ("entry.touch", Outcome::Success)
    );
    assert_eq!(record.resource_id, None);
}

#[tokio::test]
async fn a_sensitive_read_is_recorded_before_the_response_is_sent() {
    let service = Service::start().await;
    let entry = Entry::new(3);
    service.send("/entries", &entry).await;
    let response = service
        .request(reqwest::Method::GET, &format!("/entries/{}", entry.id))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let record = service.record_of(&response).await;
    assert_eq!(
        (record.action.as_str(), record.outcome),
        ("entry.read", Outcome::Success)
    );
    assert_eq!(record.resource_id.as_deref(), Some(entry.id.as_str()));

    let missing = service
        .request(reqwest::Method::GET, "/entries/none")
        .send()
        .await
        .unwrap();
    assert_eq!(missing.status(), 404);
    assert_eq!(service.record_of(&missing).await.outcome, Outcome::Invalid);
}

#[tokio::test]
async fn truncation_of_long_input_is_marked_and_the_request_succeeds() {
    let service = Service::start().await;
    let response = service
        .post("/entries")
        .header("user-agent", "u".repeat(2_000))
        .header("audit-reason", "é".repeat(1_000))
        .header("x-request-id", "r".repeat(500))
        .json(&Entry {
            id: format!("nul\0{}", "i".repeat(500)).replace('\0', "\u{1}"),
            amount: 1,
            iban: "x".repeat(100_000),
        })
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 201);
    let record = service.record_of(&response).await;
    assert_eq!(record.user_agent.unwrap().len(), 512);
    assert_eq!(record.reason.unwrap().len(), 1024);
    assert_eq!(record.request_id.unwrap().len(), 128);
    assert_eq!(record.resource_id.unwrap().len(), 256);
    assert_eq!(
        record.cut,
        ["resource_id", "reason", "request_id", "user_agent"]
    );
}

#[tokio::test]
async fn values_that_the_database_cannot_store_do_not_prevent_the_record() {
    let service = Service::start().await;
    let recorded = service
        .audit
        .transaction(
            Actor::system("odd\0actor"),
            "entry.odd",
            async |tx: &mut Tx| {
                tx.reason("zero \0 byte");
                tx.details("nested\0key", json!({"a\0b": ["\0", {"deep": "\0"}]}));
                tx.record("entry", "id\0")
                    .detail("huge", "x".repeat(1_000_000));
                Ok::<_, Failure>(tx.record_id())
            },
        )
        .await
        .unwrap();
    let record = service.audit.record(recorded).await.unwrap().unwrap();
    assert_eq!(record.actor.id, "odd\u{fffd}actor");
    assert_eq!(record.resource_id.as_deref(), Some("id\u{fffd}"));
    assert!(record.details["huge"].as_str().unwrap().len() <= 16 * 1024);
    assert!(
        record.cut.contains(&"details.huge".to_owned()),
        "{:?}",
        record.cut
    );
}

#[tokio::test]
async fn a_transaction_without_a_request_is_audited() {
    let service = Service::start().await;
    let entry = Entry::new(5);
    service
        .audit
        .transaction(
            Actor::system("month-end"),
            "ledger.close",
            async |tx: &mut Tx| {
                insert(tx, &entry).await?;
                tx.created(&entry);
                tx.record("ledger", "2026-10")
                    .action("ledger.archive")
                    .unwrap();
                Ok::<_, Failure>(())
            },
        )
        .await
        .unwrap();
    let records = service.all_records().await;
    let actions: Vec<_> = records
        .iter()
        .map(|record| record.action.as_str())
        .collect();
    assert_eq!(actions, ["ledger.close", "ledger.archive"]);
    assert!(
        records
            .iter()
            .all(|record| record.method.is_none() && record.status.is_none())
    );

    let failed = service
        .audit
        .transaction(
            Actor::system("month-end"),
            "ledger.close",
            async |tx: &mut Tx| {
                insert(tx, &Entry::new(6)).await?;
                Err::<(), _>(Failure(StatusCode::CONFLICT))
            },
        )
        .await;
    assert!(
        matches!(failed, Err(platform_audit::TransactionError::Work(_))),
        "{failed:?}"
    );
    assert_eq!(
        service.entries().await,
        1,
        "the failed transaction was rolled back"
    );
    assert_eq!(service.all_records().await[2].outcome, Outcome::Failed);

    let misnamed = service
        .audit
        .transaction(Actor::system("job"), "Close", async |_: &mut Tx| {
            Ok::<_, Failure>(())
        })
        .await;
    assert!(misnamed.unwrap_err().to_string().contains("noun.verb"));
}

#[tokio::test]
async fn a_handler_is_a_plain_function_that_a_test_can_call() {
    let service = Service::start().await;
    let response = create(service.audit.call(Actor::user("eve")), Json(Entry::new(1)))
        .await
        .into_response();
    assert_eq!(response.status(), StatusCode::CREATED);
    let record = service.only_record().await;
    assert_eq!(record.actor, Actor::user("eve"));
    assert_eq!(record.method, None);
}

#[tokio::test]
async fn a_rolled_back_savepoint_does_not_end_the_transaction() {
    let service = Service::start().await;
    service
        .audit
        .transaction(Actor::system("job"), "entry.nest", async |tx: &mut Tx| {
            insert(tx, &Entry::new(1)).await?;
            let mut inner = sqlx::Connection::begin(tx.connection().await?).await?;
            sqlx::query(
                "INSERT INTO entry (id, amount, iban, record_id) VALUES ('inner', 1, '', '')",
            )
            .execute(&mut *inner)
            .await?;
            inner.rollback().await?;
            Ok::<_, Failure>(())
        })
        .await
        .unwrap();
    assert_eq!(service.entries().await, 1);
    assert_eq!(service.records().await, 1);
}

#[tokio::test]
async fn the_client_address_behind_trusted_proxies_comes_from_their_headers() {
    use platform_observability::http::{ForwardedBy, TrustedProxies};
    for (network, expected) in [("127.0.0.0/8", "203.0.113.9"), ("10.0.0.0/8", "127.0.0.1")] {
        let proxies = TrustedProxies::new([network.parse().unwrap()], ForwardedBy::XForwarded);
        let service = Service::with(
            move |builder| builder.client_address_from(move |it| proxies.client_address(it)),
            |router| router,
        )
        .await;
        let sent = service.post("/entries").json(&Entry::new(1));
        let sent = sent.header("x-forwarded-for", "1.1.1.1, 203.0.113.9");
        let response = sent.send().await.unwrap();
        let record = service.record_of(&response).await;
        assert_eq!(record.client_address.as_deref(), Some(expected));
    }
}
