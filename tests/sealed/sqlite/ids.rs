//! Ids that are texts, of which several stand for the same UUID.

use super::cases::{Log, id};

/// The second record is sealed, as its id is another text. It does not hide that the first one is
/// gone.
#[tokio::test]
async fn an_id_in_another_spelling_is_reported_as_a_duplicate_and_hides_nothing() {
    let log = Log::sealed().await;
    let columns = "xid, occurred_at, service, actor_kind, actor_id, action, outcome";
    log.run(&format!(
        "INSERT INTO @record (id, {columns}) SELECT upper(id), {columns} FROM @record WHERE id = '{}'",
        id(171)
    ))
    .await;
    log.seal().await;
    assert_eq!(log.found().await, ["duplicate at 301 record 171"]);
    log.harm(&format!("DELETE FROM @record WHERE id = '{}'", id(171)))
        .await;
    let expected = ["missing at 171 record 171", "duplicate at 301 record 171"];
    assert_eq!(log.found().await, expected);
}

/// The queue tells the sealer what to seal.
#[tokio::test]
async fn a_record_removed_from_the_queue_is_reported_as_unsealed_late() {
    let log = Log::sealed().await;
    log.write(301, 303).await;
    log.harm(&format!("DELETE FROM @unsealed WHERE id = '{}'", id(302)))
        .await;
    assert_eq!(log.found().await, ["unsealed_late record 302"]);
    log.seal().await;
    assert_eq!(log.found().await, ["unsealed_late record 302"]);
}
