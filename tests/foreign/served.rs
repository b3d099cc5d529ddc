//! The log that a service serves from its database.

use http_body_util::BodyExt;
use platform_audit::AuditDatabase;
use tower::ServiceExt;

use crate::checkers::check;
use crate::published::{Published, RECORDS};

/// Serves the router below `/audit-log`, and returns its URL.
async fn serve<DB: AuditDatabase>(published: &Published<DB>) -> String {
    let router = axum::Router::new().nest("/audit-log", published.audit.log_router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/audit-log", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    url
}

async fn other_programs_verify_the_log_that_is_served<DB: AuditDatabase>(published: Published<DB>) {
    let url = serve(&published).await;
    let key = published.verifier_key.clone();
    let checked = tokio::task::spawn_blocking(move || check(&url, &key, &[]));
    checked.await.unwrap().assert_verified(RECORDS as u64 + 1);
}

#[tokio::test]
async fn other_programs_verify_the_log_that_is_served_from_postgres() {
    other_programs_verify_the_log_that_is_served(Published::postgres().await).await;
}

#[tokio::test]
async fn other_programs_verify_the_log_that_is_served_from_sqlite() {
    other_programs_verify_the_log_that_is_served(Published::sqlite().await).await;
}

/// Status, `Content-Type`, `Cache-Control` and body.
async fn get(router: &axum::Router, path: &str) -> (u16, String, String, Vec<u8>) {
    let request = axum::http::Request::get(path).body(axum::body::Body::empty());
    let response = router.clone().oneshot(request.unwrap()).await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or_else(String::new, |it| it.to_str().unwrap().to_owned())
    };
    let status = response.status().as_u16();
    let (content_type, caching) = (header("content-type"), header("cache-control"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, content_type, caching, body.to_vec())
}

#[tokio::test]
async fn what_is_served_is_what_is_published_and_nothing_that_no_checkpoint_covers() {
    let published = Published::sqlite().await;
    let router = published.audit.log_router();
    let directory = published.directory();
    let file = |path: &str| std::fs::read(directory.join(path)).unwrap();

    let (status, content_type, caching, note) = get(&router, "/checkpoint").await;
    assert_eq!((status, caching.as_str()), (200, "no-cache"));
    assert_eq!(content_type, "text/plain; charset=utf-8");
    assert_eq!(note, file("checkpoint"));

    for path in [
        "tile/0/000",
        "tile/0/003.p/233",
        "tile/1/000.p/3",
        "tile/entries/002",
        "tile/entries/003.p/233",
    ] {
        let (status, content_type, caching, body) = get(&router, &format!("/{path}")).await;
        assert_eq!((status, body), (200, file(path)), "{path}");
        assert_eq!(content_type, "application/octet-stream", "{path}");
        assert_eq!(caching, "public, max-age=31536000, immutable", "{path}");
    }

    // Written, and not sealed.
    published.write(100).await;
    for path in [
        "tile/0/003.p/234",
        "tile/0/003",
        "tile/1/000.p/4",
        "tile/entries/003.p/234",
    ] {
        let (status, _, caching, body) = get(&router, &format!("/{path}")).await;
        assert_eq!(
            (status, caching.as_str(), body.len()),
            (404, "no-cache", 0),
            "{path}"
        );
    }
    for path in [
        "tile/0/0",
        "tile/0/000.p/0",
        "tile/entries/..%2F000",
        "tile/",
        "checkpoints/1",
    ] {
        let (status, ..) = get(&router, &format!("/{path}")).await;
        assert_eq!(status, 404, "{path}");
    }
    // Tiles of older checkpoints stay.
    published.seal().await;
    let (status, _, _, body) = get(&router, "/tile/0/003.p/233").await;
    assert_eq!((status, body), (200, file("tile/0/003.p/233")));
}

#[tokio::test]
async fn a_log_without_a_checkpoint_serves_nothing() {
    let key = platform_audit::seal::new_key(crate::published::ORIGIN).unwrap();
    let published = Published::empty(key).await;
    for path in ["/checkpoint", "/tile/0/000.p/1"] {
        let (status, ..) = get(&published.audit.log_router(), path).await;
        assert_eq!(status, 404, "{path}");
    }
}
