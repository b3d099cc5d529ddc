//! Auditing fails closed: without a record there is no commit, and without a commit no 2xx.

use axum::middleware::{from_fn, map_response};

use super::*;

impl Service {
    /// Makes every insert of a record fail from now on.
    pub(super) async fn break_records(&self) {
        let statement = format!("ALTER TABLE {WRITTEN} RENAME TO gone");
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Undoes [`break_records`](Self::break_records).
    pub(super) async fn restore_records(&self) {
        let (schema, name) = WRITTEN.rsplit_once('.').unwrap_or(("main", WRITTEN));
        let statement = format!("ALTER TABLE {schema}.gone RENAME TO {name}");
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&self.pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_change_is_not_committed_without_its_record() {
    let service = Service::start().await;
    service.break_records().await;
    let response = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(response.status(), 500);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let body = response.text().await.unwrap();
    assert!(body.contains("nothing was changed"), "{body}");
    assert!(
        !body.contains("ledger_audit") && !body.contains("gone"),
        "internals: {body}"
    );
    assert_eq!(service.entries().await, 0);
    assert_eq!(service.audit.status().committed, 0);
}

#[tokio::test]
async fn a_sensitive_read_returns_no_data_without_its_record() {
    let service = Service::start().await;
    let entry = Entry::new(1);
    service.send("/entries", &entry).await;
    service.break_records().await;
    let events = platform_harness::events::capture();
    let response = service
        .request(reqwest::Method::GET, &format!("/entries/{}", entry.id))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 500);
    // The record of the attempt is lost too, and logged in full.
    assert_eq!(service.audit.status().lost_attempts, 1);
    let id = record_id(&response).to_string();
    assert!(!response.text().await.unwrap().contains(IBAN));
    let events = events.text();
    let record = events
        .lines()
        .find(|line| line.contains("entry.read") && line.contains("ada"));
    assert!(record.is_some_and(|line| line.contains(&id)), "{events}");
}

#[tokio::test]
async fn the_response_does_not_deny_a_change_that_a_handler_committed_itself() {
    #[audited(action = "entry.cheat")]
    async fn cheat(tx: &mut Tx) -> Result<StatusCode, Failure> {
        insert(tx, &Entry::new(1)).await?;
        sqlx::raw_sql("COMMIT").execute(&mut *tx).await?;
        Ok(StatusCode::CREATED)
    }
    let service = Service::with(|b| b, |router| router.route("/cheat", routing::post(cheat))).await;
    let response = service.post("/cheat").send().await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(service.entries().await, 1, "the change was committed");
    let body = response.text().await.unwrap();
    assert!(!body.contains("nothing was changed"), "{body}");
    assert_eq!(service.audit.status().violations, 1);
    let record = service.only_record().await;
    assert_eq!(record.error_type.as_deref(), Some("transaction_ended"));
}

#[tokio::test]
async fn an_operation_that_ends_its_own_transaction_gets_no_success_record() {
    let statements = ["COMMIT", "ROLLBACK", "ROLLBACK; BEGIN"];
    // Different statements insert one record and several.
    for (statement, count) in statements.into_iter().flat_map(|it| [(it, 1), (it, 3)]) {
        let service = Service::start().await;
        let ended = service
            .audit
            .transaction(Actor::system("job"), "entry.cheat", async |tx: &mut Tx| {
                insert(tx, &Entry::new(1)).await?;
                for n in 0..count {
                    tx.record("entry", n);
                }
                sqlx::raw_sql(statement).execute(&mut *tx).await?;
                Ok::<_, Failure>(())
            })
            .await;
        let error = ended.expect_err(statement);
        assert!(
            error.to_string().contains("ended its own transaction"),
            "{statement}: {error}"
        );
        let records = service.all_records().await;
        assert!(
            records
                .iter()
                .all(|record| record.outcome == Outcome::Failed),
            "{statement}: {records:#?}"
        );
        // The connection is not used again.
        assert_eq!(service.send("/entries", &Entry::new(2)).await.status(), 201);
    }
}

#[tokio::test]
async fn an_unfinished_savepoint_gets_no_success_record() {
    let service = Service::start().await;
    let ended = service
        .audit
        .transaction(Actor::system("job"), "entry.cheat", async |tx: &mut Tx| {
            insert(tx, &Entry::new(1)).await?;
            std::mem::forget(sqlx::Connection::begin(tx.connection().await?).await?);
            Ok::<_, Failure>(())
        })
        .await;
    assert!(ended.is_err());
    assert_eq!(service.entries().await, 0);
    assert_eq!(service.only_record().await.outcome, Outcome::Failed);
    assert_eq!(service.send("/entries", &Entry::new(2)).await.status(), 201);
}

fn with_unaudited_route(router: Router<Shared>) -> Router<Shared> {
    router.merge_axum(axum::Router::new().route("/forgotten", axum::routing::post(forgotten)))
}

#[tokio::test]
async fn an_unaudited_handler_that_bypasses_the_typed_router_gets_500_and_is_counted() {
    let service = Service::with(|b| b, with_unaudited_route).await;
    let events = platform_harness::events::capture();
    let response = service.send("/forgotten", &Entry::new(1)).await;
    assert_eq!(response.status(), 500);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(service.audit.status().violations, 1);
    let events = events.text();
    assert!(
        events.contains("ERROR") && events.contains("neither audited nor exempt"),
        "{events}"
    );
    assert!(
        events.contains("/forgotten"),
        "the event names the route: {events}"
    );
}

#[tokio::test]
async fn observe_only_reports_violations_without_replacing_responses() {
    let service = Service::with(AuditBuilder::observe_only, with_unaudited_route).await;
    assert_eq!(
        service.send("/forgotten", &Entry::new(1)).await.status(),
        201
    );
    assert_eq!(service.audit.status().violations, 1);
    let anonymous = service.send_anonymously("/entries").await;
    assert_eq!(anonymous.status(), 201);
    assert_eq!(
        service.record_of(&anonymous).await.actor,
        Actor::anonymous()
    );
}

#[tokio::test]
async fn the_same_handler_succeeds_without_the_audit_layer() {
    // So the refusal in the test above comes from the audit layer and nothing else.
    let service = Service::start().await;
    let router = with_unaudited_route(Router::new());
    let response = service.send_to(router, "/forgotten").await;
    assert_eq!(response.status(), 201);
    assert_eq!((service.entries().await, service.records().await), (1, 0));
}

#[tokio::test]
async fn an_exempt_handler_passes_the_audit_layer() {
    let service = Service::start().await;
    let response = service.send("/preview", &Entry::new(4)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.text().await.unwrap(), "8");
    assert_eq!(service.records().await, 0);
}

#[tokio::test]
async fn an_exempt_route_passes_the_audit_layer_if_another_layer_responds_for_it() {
    async fn respond(_: axum::extract::Request, _: axum::middleware::Next) -> StatusCode {
        StatusCode::OK
    }
    let service = Service::with(|b| b, |router| router.layer(from_fn(respond))).await;
    let response = service.send("/preview", &Entry::new(4)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(service.audit.status().violations, 0);
}

#[tokio::test]
async fn an_audited_handler_without_the_audit_layer_gets_500() {
    let service = Service::start().await;
    let response = service.send_to(routes(), "/entries").await;
    assert_eq!(response.status(), 500);
    assert_eq!(service.entries().await, 0);
}

#[tokio::test]
async fn a_failure_whose_status_a_layer_changed_to_success_gets_500() {
    async fn change_to_success(mut response: Response) -> Response {
        *response.status_mut() = StatusCode::OK;
        response
    }
    let service = Service::with(
        |b| b,
        |router| router.layer(map_response(change_to_success)),
    )
    .await;
    let response = service.send("/fail/409", &Entry::new(1)).await;
    assert_eq!(response.status(), 500);
    assert_eq!(service.audit.status().violations, 1);
    assert_eq!(service.only_record().await.status, Some(409));
}

#[tokio::test]
async fn a_layer_that_responds_with_success_in_place_of_the_handler_gets_500() {
    async fn respond(_: axum::extract::Request, _: axum::middleware::Next) -> StatusCode {
        StatusCode::OK
    }
    let service = Service::with(|b| b, |router| router.layer(from_fn(respond))).await;
    assert_eq!(service.send("/entries", &Entry::new(1)).await.status(), 500);
    assert_eq!(service.audit.status().violations, 1);
}

#[tokio::test]
async fn two_audit_layers_write_one_record() {
    let service = Service::start().await;
    let layer = || service.audit.layer();
    let router = routes().layer(layer()).layer(layer());
    let response = service.send_to(router, "/entries").await;
    assert_eq!(response.status(), 201);
    assert_eq!(service.records().await, 1);
    assert_eq!(service.audit.status().violations, 0);
}

/// Two services in one process, each with its own store, and the audit layer of one around both.
#[tokio::test]
async fn an_inner_audit_layer_is_responsible_for_its_own_routes() {
    let service = Service::start().await;
    let other = platform_audit::Audit::builder(service.pool.clone(), "other")
        .actor_from(who)
        .development(true)
        .start()
        .await
        .unwrap();
    let shared = || Shared {
        pool: service.pool.clone(),
    };
    let inner = with_unaudited_route(routes())
        .layer(other.layer())
        .with_state(shared());
    let outer = routes().with_state(shared()).nest("/other", inner);
    let address = serve(outer.layer(service.audit.layer()).into()).await;
    let send = async |path: &str| {
        let url = format!("http://{address}{path}");
        let sent = service.client.post(url).header("x-user", "ada");
        sent.json(&Entry::new(1)).send().await.unwrap()
    };
    let response = send("/other/entries").await;
    assert_eq!(response.status(), 201);
    let record = other.record(record_id(&response)).await.unwrap().unwrap();
    assert_eq!(
        (&*record.service, &*record.action),
        ("other", "entry.create")
    );
    assert_eq!(service.records().await, 0);
    assert_eq!(send("/other/forgotten").await.status(), 500);
    assert_eq!(other.status().violations, 1);
    assert_eq!(send("/entries").await.status(), 201);
    assert_eq!(service.records().await, 1);
    assert_eq!(service.audit.status().violations, 0);
}

/// axum accepts a handler for any method and one for a specific method of the same path.
#[tokio::test]
async fn an_exempt_any_handler_does_not_exempt_other_methods() {
    let service = Service::with(
        |b| b,
        |router| with_unaudited_route(router.route("/forgotten", routing::any(super::preview))),
    )
    .await;
    let response = service.send("/forgotten", &Entry::new(1)).await;
    assert_eq!(response.status(), 500);
    assert_eq!(service.audit.status().violations, 1);
    let put = service.request(reqwest::Method::PUT, "/forgotten");
    let response = put.json(&Entry::new(2)).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "4", "the exempt one");
    assert_eq!(service.audit.status().violations, 1);
}
