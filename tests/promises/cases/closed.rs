//! It fails closed: no record, no commit; no commit, no 2xx.

use axum::middleware::{from_fn, map_response};

use super::*;

impl Service {
    /// Makes every further record fail in the database.
    pub(super) async fn break_records(&self) {
        let statement = format!("ALTER TABLE {WRITTEN} RENAME TO gone");
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Takes it back.
    pub(super) async fn mend_records(&self) {
        let (schema, name) = WRITTEN.rsplit_once('.').unwrap_or(("main", WRITTEN));
        let statement = format!("ALTER TABLE {schema}.gone RENAME TO {name}");
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&self.pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn without_its_record_no_change_is_committed() {
    let service = Service::start().await;
    service.break_records().await;
    let answer = service.send("/entries", &Entry::new(1)).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body = answer.text().await.unwrap();
    assert!(body.contains("nothing was changed"), "{body}");
    assert!(
        !body.contains("ledger_audit") && !body.contains("gone"),
        "internals: {body}"
    );
    assert_eq!(service.entries().await, 0);
    assert_eq!(service.audit.status().committed, 0);
}

#[tokio::test]
async fn what_was_read_is_withheld_without_its_record() {
    let service = Service::start().await;
    let entry = Entry::new(1);
    service.send("/entries", &entry).await;
    service.break_records().await;
    let events = platform_harness::events::capture();
    let answer = service
        .request(reqwest::Method::GET, &format!("/entries/{}", entry.id))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 500);
    // The attempt is lost too, and loud, with all that is known of it.
    assert_eq!(service.audit.status().lost_attempts, 1);
    let id = record_id(&answer).to_string();
    assert!(!answer.text().await.unwrap().contains(IBAN));
    let events = events.text();
    let record = events
        .lines()
        .find(|line| line.contains("entry.read") && line.contains("ada"));
    assert!(record.is_some_and(|line| line.contains(&id)), "{events}");
}

#[tokio::test]
async fn of_work_that_ended_its_transaction_nobody_says_that_nothing_was_changed() {
    #[audited(action = "entry.cheat")]
    async fn cheat(tx: &mut Tx) -> Result<StatusCode, Failure> {
        insert(tx, &Entry::new(1)).await?;
        sqlx::raw_sql("COMMIT").execute(&mut *tx).await?;
        Ok(StatusCode::CREATED)
    }
    let service = Service::with(|b| b, |router| router.route("/cheat", routing::post(cheat))).await;
    let answer = service.post("/cheat").send().await.unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(service.entries().await, 1, "it did change something");
    let body = answer.text().await.unwrap();
    assert!(!body.contains("nothing was changed"), "{body}");
    assert_eq!(service.audit.status().violations, 1);
    let record = service.only_record().await;
    assert_eq!(record.error_type.as_deref(), Some("transaction_ended"));
}

#[tokio::test]
async fn work_that_ends_its_transaction_itself_gets_no_record() {
    let statements = ["COMMIT", "ROLLBACK", "ROLLBACK; BEGIN"];
    // One record and several are written by statements of their own.
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
        // The connection it left behind is not used again.
        assert_eq!(service.send("/entries", &Entry::new(2)).await.status(), 201);
    }
}

#[tokio::test]
async fn a_savepoint_left_open_gets_no_record() {
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

fn with_forgotten(router: Router<Shared>) -> Router<Shared> {
    router.merge_axum(axum::Router::new().route("/forgotten", axum::routing::post(forgotten)))
}

#[tokio::test]
async fn going_round_the_typed_router_is_refused_and_counted() {
    let service = Service::with(|b| b, with_forgotten).await;
    let events = platform_harness::events::capture();
    let answer = service.send("/forgotten", &Entry::new(1)).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
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
async fn only_observing_reports_and_lets_pass() {
    let service = Service::with(AuditBuilder::observe_only, with_forgotten).await;
    assert_eq!(
        service.send("/forgotten", &Entry::new(1)).await.status(),
        201
    );
    assert_eq!(service.audit.status().violations, 1);
    let url = format!("http://{}/entries", service.address);
    let nobody = service
        .client
        .post(&url)
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    assert_eq!(nobody.status(), 201);
    assert_eq!(service.record_of(&nobody).await.actor, Actor::anonymous());
}

#[tokio::test]
async fn without_the_guard_the_same_handler_is_not_refused() {
    // The guard taken away: what the test above relies on is the guard and nothing else.
    let service = Service::start().await;
    let app: axum::Router = with_forgotten(Router::new())
        .with_state(Shared {
            pool: service.pool.clone(),
        })
        .into();
    let address = serve(app).await;
    let url = format!("http://{address}/forgotten");
    let answer = service
        .client
        .post(url)
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!((service.entries().await, service.records().await), (1, 0));
}

#[tokio::test]
async fn an_exempt_handler_passes_the_guard() {
    let service = Service::start().await;
    let answer = service.send("/preview", &Entry::new(4)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), "8");
    assert_eq!(service.records().await, 0);
}

#[tokio::test]
async fn an_exempt_route_passes_also_when_a_layer_answers_for_it() {
    async fn answer(_: axum::extract::Request, _: axum::middleware::Next) -> StatusCode {
        StatusCode::OK
    }
    let service = Service::with(|b| b, |router| router.layer(from_fn(answer))).await;
    let answer = service.send("/preview", &Entry::new(4)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(service.audit.status().violations, 0);
}

#[tokio::test]
async fn an_audited_handler_without_the_guard_is_refused() {
    let service = Service::start().await;
    let app: axum::Router = routes()
        .with_state(Shared {
            pool: service.pool.clone(),
        })
        .into();
    let address = serve(app).await;
    let url = format!("http://{address}/entries");
    let answer = service
        .client
        .post(url)
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(service.entries().await, 0);
}

#[tokio::test]
async fn a_failure_dressed_up_as_success_is_refused() {
    async fn dress_up(mut response: Response) -> Response {
        *response.status_mut() = StatusCode::OK;
        response
    }
    let service = Service::with(|b| b, |router| router.layer(map_response(dress_up))).await;
    let answer = service.send("/fail/409", &Entry::new(1)).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(service.audit.status().violations, 1);
    assert_eq!(service.only_record().await.status, Some(409));
}

#[tokio::test]
async fn a_layer_that_answers_success_in_place_of_the_handler_is_refused() {
    async fn answer(_: axum::extract::Request, _: axum::middleware::Next) -> StatusCode {
        StatusCode::OK
    }
    let service = Service::with(|b| b, |router| router.layer(from_fn(answer))).await;
    assert_eq!(service.send("/entries", &Entry::new(1)).await.status(), 500);
    assert_eq!(service.audit.status().violations, 1);
}

#[tokio::test]
async fn two_guards_judge_once() {
    let service = Service::start().await;
    let audit = service.audit.clone();
    let app: axum::Router = routes()
        .layer(audit.layer())
        .layer(audit.layer())
        .with_state(Shared {
            pool: service.pool.clone(),
        })
        .into();
    let address = serve(app).await;
    let url = format!("http://{address}/entries");
    let answer = service
        .client
        .post(url)
        .header("x-user", "ada")
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(service.records().await, 1);
    assert_eq!(service.audit.status().violations, 0);
}

/// Two services in one: each with a store of its own, and the guard of one around all.
#[tokio::test]
async fn what_is_inside_of_another_guard_is_that_ones_to_judge() {
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
    let inner = with_forgotten(routes())
        .layer(other.layer())
        .with_state(shared());
    let outer = routes().with_state(shared()).nest("/other", inner);
    let address = serve(outer.layer(service.audit.layer()).into()).await;
    let send = async |path: &str| {
        let url = format!("http://{address}{path}");
        let sent = service.client.post(url).header("x-user", "ada");
        sent.json(&Entry::new(1)).send().await.unwrap()
    };
    let answer = send("/other/entries").await;
    assert_eq!(answer.status(), 201);
    let record = other.record(record_id(&answer)).await.unwrap().unwrap();
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

/// axum lets a handler of any method and one for a method of the same path stand side by side.
#[tokio::test]
async fn an_exempt_handler_of_any_method_exempts_no_other() {
    let service = Service::with(
        |b| b,
        |router| with_forgotten(router.route("/forgotten", routing::any(super::preview))),
    )
    .await;
    let answer = service.send("/forgotten", &Entry::new(1)).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(service.audit.status().violations, 1);
    let put = service.request(reqwest::Method::PUT, "/forgotten");
    let answer = put.json(&Entry::new(2)).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "4", "the exempt one");
    assert_eq!(service.audit.status().violations, 1);
}
