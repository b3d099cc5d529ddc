//! Headers that are required, or that may occur only once.

use super::*;

#[tokio::test]
async fn a_request_without_a_required_reason_gets_400_and_is_recorded() {
    let service = Service::start().await;
    for reason in [None, Some("  ")] {
        let mut request = service.request(reqwest::Method::DELETE, "/entries/1");
        if let Some(reason) = reason {
            request = request.header("audit-reason", reason);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 400);
        let record = service.record_of(&response).await;
        assert_eq!(
            (record.action.as_str(), record.outcome),
            ("entry.delete", Outcome::Invalid)
        );
        assert!(response.text().await.unwrap().contains("Audit-Reason"));
    }
}

/// A record can contain only one reason, and it would be unclear which one.
#[tokio::test]
async fn a_second_reason_header_is_rejected() {
    let service = Service::start().await;
    let response = service
        .post("/entries")
        .header("audit-reason", "ticket 1")
        .header("audit-reason", "ticket 2")
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let record = service.record_of(&response).await;
    assert_eq!((record.outcome, record.reason), (Outcome::Invalid, None));
    let body = response.text().await.unwrap();
    assert!(body.contains("several headers Audit-Reason"), "{body}");
    assert_eq!(service.entries().await, 0);
}

#[tokio::test]
async fn repeated_headers_are_listed_in_cut() {
    let service = Service::start().await;
    let response = service
        .post("/entries")
        .header("x-request-id", "first")
        .header("x-request-id", "second")
        .header("user-agent", "one")
        .header("user-agent", "two")
        .json(&Entry::new(1))
        .send()
        .await
        .unwrap();
    let record = service.record_of(&response).await;
    assert_eq!(record.request_id.as_deref(), Some("first"));
    assert_eq!(record.user_agent.as_deref(), Some("one"));
    assert_eq!(record.cut, ["request_id", "user_agent"]);
    let response = service
        .post("/entries")
        .header("x-request-id", "only")
        .header("user-agent", "one")
        .json(&Entry::new(2))
        .send()
        .await
        .unwrap();
    assert!(service.record_of(&response).await.cut.is_empty());
}
