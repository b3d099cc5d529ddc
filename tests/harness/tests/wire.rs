//! The proxy records the messages without changing them, and cuts connections on request.

use platform_harness::database::TestDatabase;
use platform_harness::wire::{Cut, Flight, Wire};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A proxy in front of a database with one empty table.
struct Proxied {
    database: TestDatabase,
    wire: Wire,
    url: String,
}

impl Proxied {
    async fn new() -> Self {
        let database = TestDatabase::postgres().await;
        let mut connection = PgConnection::connect(database.url()).await.unwrap();
        run(&mut connection, "CREATE TABLE entry (id INT)")
            .await
            .unwrap();
        let wire = Wire::before(database.url()).await;
        let url = wire.through(database.url());
        Self {
            database,
            wire,
            url,
        }
    }

    /// Returns a connection, without recorded flights.
    async fn connect(&self) -> PgConnection {
        let connection = PgConnection::connect(&self.url).await.unwrap();
        self.wire.reset();
        connection
    }

    /// The number of rows, read without the proxy.
    async fn entries(&self) -> i64 {
        let mut connection = PgConnection::connect(self.database.url()).await.unwrap();
        sqlx::query_scalar("SELECT count(*) FROM entry")
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }
}

async fn run(connection: &mut PgConnection, sql: &'static str) -> sqlx::Result<()> {
    sqlx::raw_sql(sql).execute(connection).await.map(drop)
}

const INSERT: &str = "INSERT INTO entry VALUES ($1)";

async fn insert(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(INSERT)
        .bind(1)
        .execute(connection)
        .await
        .map(drop)
}

fn simple(connection: usize, query: &str) -> Flight {
    Flight {
        connection,
        kinds: "Q".to_owned(),
        query: Some(query.to_owned()),
        ..Flight::default()
    }
}

fn bound(connection: usize, kinds: &str, statement: &str) -> Flight {
    Flight {
        connection,
        kinds: kinds.to_owned(),
        bound: vec![statement.to_owned()],
        ..Flight::default()
    }
}

#[tokio::test]
async fn every_flight_of_a_transaction_is_recorded() {
    let proxied = Proxied::new().await;
    let mut connection = proxied.connect().await;
    assert_eq!(proxied.wire.round_trips(), 0);

    run(&mut connection, "BEGIN").await.unwrap();
    insert(&mut connection).await.unwrap();
    insert(&mut connection).await.unwrap();
    run(&mut connection, "COMMIT").await.unwrap();
    let prepare = Flight {
        kinds: "PDS".to_owned(),
        ..Flight::default()
    };
    assert_eq!(
        proxied.wire.flights(),
        [
            simple(0, "BEGIN"),
            prepare,
            bound(0, "BECS", INSERT),
            bound(0, "BECS", INSERT),
            simple(0, "COMMIT"),
        ]
    );
    assert_eq!(proxied.wire.round_trips(), 5);
    assert_eq!(proxied.entries().await, 2);

    proxied.wire.reset();
    assert_eq!(proxied.wire.flights(), []);
}

#[tokio::test]
async fn a_statement_that_fails_is_a_round_trip_as_well() {
    let proxied = Proxied::new().await;
    let mut connection = proxied.connect().await;
    assert!(run(&mut connection, "SELECT 1 / 0").await.is_err());
    insert(&mut connection).await.unwrap();
    assert_eq!(proxied.wire.flights()[0], simple(0, "SELECT 1 / 0"));
    assert_eq!(proxied.wire.flights().last().unwrap().bound, [INSERT]);
}

#[tokio::test]
async fn flights_have_the_number_of_their_connection() {
    let proxied = Proxied::new().await;
    let mut first = proxied.connect().await;
    let mut second = proxied.connect().await;
    run(&mut second, "SELECT 2").await.unwrap();
    run(&mut first, "SELECT 1").await.unwrap();
    assert_eq!(
        proxied.wire.flights(),
        [simple(1, "SELECT 2"), simple(0, "SELECT 1")]
    );
}

#[tokio::test]
async fn pipelined_queries_are_separate_flights() {
    let proxied = Proxied::new().await;
    let mut raw = Raw::connect(&proxied).await;
    let queries = [query("SELECT 1"), query("SELECT 2")].concat();
    raw.0.write_all(&queries).await.unwrap();
    raw.until_ready().await;
    raw.until_ready().await;
    assert_eq!(
        proxied.wire.flights(),
        [simple(0, "SELECT 1"), simple(0, "SELECT 2")]
    );
}

#[tokio::test]
async fn copied_rows_belong_to_the_flight_of_their_query() {
    let proxied = Proxied::new().await;
    let mut connection = proxied.connect().await;
    let mut copy = connection
        .copy_in_raw("COPY entry FROM STDIN")
        .await
        .unwrap();
    copy.send("1\n2\n3\n".as_bytes()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 3);
    let copied = Flight {
        kinds: "Qdc".to_owned(),
        ..simple(0, "COPY entry FROM STDIN")
    };
    assert_eq!(proxied.wire.flights(), [copied]);
    assert_eq!(proxied.entries().await, 3);
}

#[tokio::test]
async fn large_messages_arrive_whole_in_both_directions() {
    let proxied = Proxied::new().await;
    let mut connection = proxied.connect().await;
    let sent: String = ('a'..='z').cycle().take(5_000_000).collect();
    let received: String = sqlx::query_scalar("SELECT $1")
        .bind(&sent)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(received == sent);
}

#[tokio::test]
async fn encryption_is_declined_and_the_connection_continues() {
    const SSL_REQUEST: u32 = 80_877_103;
    const GSSENC_REQUEST: u32 = 80_877_104;
    let proxied = Proxied::new().await;
    let mut raw = Raw::reach(&proxied).await;
    for request in [GSSENC_REQUEST, SSL_REQUEST] {
        let packet = [8_u32.to_be_bytes(), request.to_be_bytes()].concat();
        raw.0.write_all(&packet).await.unwrap();
        assert_eq!(raw.0.read_u8().await.unwrap(), b'N');
    }
    raw.start(&proxied).await;
}

#[tokio::test]
async fn connecting_is_not_a_flight() {
    let proxied = Proxied::new().await;
    Raw::connect(&proxied).await;
    assert_eq!(proxied.wire.flights(), []);
}

#[tokio::test]
async fn a_cut_closes_every_connection_and_accepts_new_ones() {
    let proxied = Proxied::new().await;
    let mut connections = [proxied.connect().await, proxied.connect().await];
    for round in 0..2 {
        proxied.wire.cut();
        for connection in &mut connections {
            assert!(connection.ping().await.is_err(), "round {round}");
            *connection = proxied.connect().await;
            connection.ping().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_commit_that_is_cut_before_the_server_does_not_happen() {
    let proxied = Proxied::new().await;
    let mut connection = proxied.connect().await;
    run(&mut connection, "BEGIN").await.unwrap();
    insert(&mut connection).await.unwrap();
    proxied.wire.cut_at("COMMIT", false);
    assert!(run(&mut connection, "COMMIT").await.is_err());
    assert_eq!(proxied.entries().await, 0);
    assert!(
        proxied
            .wire
            .flights()
            .iter()
            .all(|flight| flight.query.as_deref() != Some("COMMIT"))
    );
}

#[tokio::test]
async fn a_commit_that_is_cut_before_the_client_has_happened() {
    let proxied = Proxied::new().await;
    let mut connection = proxied.connect().await;
    run(&mut connection, "BEGIN").await.unwrap();
    insert(&mut connection).await.unwrap();
    proxied.wire.cut_at("COMMIT", true);
    assert!(run(&mut connection, "COMMIT").await.is_err());
    assert_eq!(proxied.entries().await, 1);
}

#[tokio::test]
async fn a_connection_is_cut_once_at_a_prepared_statement() {
    for (side, stored) in [(Cut::BeforeServer, 0), (Cut::BeforeClient, 1)] {
        let proxied = Proxied::new().await;
        let mut connection = proxied.connect().await;
        let mut other = proxied.connect().await;
        proxied.wire.cut_when(side, |message| {
            message.kind == 'B' && message.sql == Some(INSERT)
        });
        run(&mut connection, "SELECT 1").await.unwrap();
        assert!(insert(&mut connection).await.is_err(), "{side:?}");
        assert_eq!(proxied.entries().await, stored, "{side:?}");
        insert(&mut other).await.unwrap();
        assert_eq!(proxied.entries().await, stored + 1, "{side:?}");
    }
}

#[tokio::test]
async fn a_query_before_the_cut_still_gets_its_response() {
    let proxied = Proxied::new().await;
    let mut raw = Raw::connect(&proxied).await;
    proxied.wire.cut_at("INSERT", true);
    let queries = [
        query("SELECT 'heard'"),
        query("INSERT INTO entry VALUES (1) RETURNING 'unheard'"),
    ]
    .concat();
    raw.0.write_all(&queries).await.unwrap();
    let mut answers = Vec::new();
    // The proxy closes the connection without a message, which may be an error here.
    let _ = raw.0.read_to_end(&mut answers).await;
    let heard = |text: &[u8]| answers.windows(text.len()).any(|part| part == text);
    assert!(heard(b"heard"));
    assert!(!heard(b"unheard"));
    assert_eq!(proxied.entries().await, 1);
}

/// A client that sends raw messages.
struct Raw(TcpStream);

impl Raw {
    async fn connect(proxied: &Proxied) -> Self {
        let mut raw = Self::reach(proxied).await;
        raw.start(proxied).await;
        raw
    }

    async fn reach(proxied: &Proxied) -> Self {
        let url: url::Url = proxied.url.parse().unwrap();
        let address = ("127.0.0.1", url.port().unwrap());
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn start(&mut self, proxied: &Proxied) {
        let url: url::Url = proxied.url.parse().unwrap();
        let database = url.path().trim_start_matches('/');
        let version = 3_u32 << 16;
        let options = format!("user\0{}\0database\0{database}\0\0", url.username());
        let length = u32::try_from(8 + options.len()).unwrap();
        let packet = [
            &length.to_be_bytes(),
            &version.to_be_bytes(),
            options.as_bytes(),
        ]
        .concat();
        self.0.write_all(&packet).await.unwrap();
        self.until_ready().await;
    }

    async fn until_ready(&mut self) {
        loop {
            let kind = self.0.read_u8().await.unwrap();
            let length = self.0.read_u32().await.unwrap();
            let mut body = vec![0; length as usize - 4];
            self.0.read_exact(&mut body).await.unwrap();
            assert_ne!(kind, b'E', "{}", String::from_utf8_lossy(&body));
            if kind == b'Z' {
                return;
            }
        }
    }
}

fn query(sql: &str) -> Vec<u8> {
    let length = u32::try_from(5 + sql.len()).unwrap();
    [&b"Q"[..], &length.to_be_bytes(), sql.as_bytes(), b"\0"].concat()
}
