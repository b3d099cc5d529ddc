//! The options of a service's auditing, and its start.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use sqlx::Pool;
use tokio_util::task::TaskTracker;

use crate::actor_source::{ActorSource, Actors, ClientAddresses};
use crate::audit::Audit;
use crate::check::{Explanation, Finding, Report};
use crate::core::{Core, summarise};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::rate_limit::{PER_MINUTE, RateLimiter};
use crate::store::{AnyStore, AuditDatabase, Store, Tables, maintain, schema_name};
use crate::transaction::Committer;

/// How long an abandoned handler may still take, unless the service says otherwise.
const GRACE: Duration = Duration::from_secs(30);

/// How long a COMMIT may take to be answered, unless the service says otherwise.
const COMMIT: Duration = Duration::from_secs(60);

/// How a service is audited; made by [`Audit::builder`].
#[must_use = "nothing is audited before `start`"]
pub struct AuditBuilder<DB: AuditDatabase> {
    pool: Pool<DB>,
    service: String,
    service_version: Option<String>,
    schema: Option<String>,
    actors: Option<Actors>,
    client_addresses: Option<ClientAddresses>,
    observe_only: bool,
    grace: Duration,
    commit_within: Duration,
    anonymous_attempts: NonZeroU32,
    actor_attempts: Option<NonZeroU32>,
    max_connections: Option<u32>,
    development: bool,
    tables: Tables,
    app_role: Option<String>,
}

impl<DB: AuditDatabase> AuditBuilder<DB> {
    /// The version written into every record, such as `env!("CARGO_PKG_VERSION")`.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.service_version = Some(version.into());
        self
    }

    /// The schema of the audit tables (on SQLite their prefix), in place of `<service>_audit`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Derives the actor of requests that carry none in their extensions.
    pub fn actor_from(mut self, source: impl ActorSource) -> Self {
        self.actors = Some(Actors(Arc::new(source)));
        self
    }

    /// Tells the client's address behind proxies, which records keep, those of readings through the page
    /// too, and attempts are limit by; else, and where it tells none, it is that of the connection
    /// (axum's `ConnectInfo<SocketAddr>`), so the proxy's. Believe no header that a client can send:
    /// `platform_observability::http::TrustedProxies` knows which.
    ///
    /// ```
    /// # #[cfg(feature = "postgres")]
    /// # fn example(audit: platform_audit::AuditBuilder<sqlx::Postgres>) -> Result<(), Box<dyn std::error::Error>> {
    /// use platform_observability::http::{ForwardedBy, TrustedProxies};
    ///
    /// let proxies = TrustedProxies::new(["10.0.0.0/8".parse()?], ForwardedBy::XForwarded);
    /// let audit = audit.client_address_from(move |request| proxies.client_address(request));
    /// # Ok(())
    /// # }
    /// ```
    pub fn client_address_from(
        mut self,
        source: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.client_addresses = Some(ClientAddresses(Arc::new(source)));
        self
    }

    /// Reports what the guard would refuse, and lets it pass: for adopting it in an old service.
    ///
    /// It concerns unaudited changes and missing actors. What an audited handler does is never
    /// committed without its record.
    pub fn observe_only(mut self) -> Self {
        self.observe_only = true;
        self
    }

    /// How long a handler may go on after its client hung up, before it is rolled back and
    /// recorded as timed out; 30 seconds by default. A time-out layer that has answered already
    /// ends it at once.
    pub fn abandoned_after(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long the database may take to write the records and commit, before nobody waits for its answer
    /// any more and the outcome counts as unknown (503, [`Error::OutcomeUnknown`]); 60 seconds by default. A
    /// synchronous standby may hold a COMMIT up; a server that vanished without a word would for ever.
    pub fn commit_within(mut self, deadline: Duration) -> Self {
        self.commit_within = deadline;
        self
    }

    /// How many attempts a minute by nobody known are recorded one by one, for each action and
    /// client address (on IPv6 its /64), with a burst of as many; 30 by default. An attempt over
    /// it is only counted: in one record a minute of the action `attempt.suppress`, and in
    /// [`AuditStatus::suppressed_attempts`](crate::AuditStatus::suppressed_attempts). Its answer has no `Audit-Record-Id`.
    ///
    /// The address is that of [`client_address_from`](Self::client_address_from). Clients without one
    /// share a limit. Successes have no limit; for attempts by a known actor, see
    /// [`actor_attempts`](Self::actor_attempts).
    pub fn anonymous_attempts(mut self, per_minute: NonZeroU32) -> Self {
        self.anonymous_attempts = per_minute;
        self
    }

    /// How many attempts a minute by one known actor are recorded one by one, for each action, with a
    /// burst of as many; all of them by default. An attempt over the limit is only counted, in the same
    /// record a minute as [anonymous ones](Self::anonymous_attempts), which lists the busiest actors.
    ///
    /// Successes have no limit. An actor is a kind, an id and a tenant, whatever the address.
    ///
    /// With a limit, a client that floods hides its own further attempts at the same action, down to
    /// their number. Without one, a client that may sign in can fill the table.
    pub fn actor_attempts(mut self, per_minute: NonZeroU32) -> Self {
        self.actor_attempts = Some(per_minute);
        self
    }

    /// The most connections that audited work may use, in place of as many as the pool may have.
    /// At least 1; on SQLite it is always 1.
    pub fn max_connections(mut self, max: u32) -> Self {
        self.max_connections = Some(max);
        self
    }

    /// Starts also on a database that would let changes go unaudited, and logs a warning for each
    /// finding: for a developer's own machine, `development(cfg!(debug_assertions))`. Not where no record
    /// could be written: with a schema that is missing or behind, or without rights to it.
    pub fn development(mut self, development: bool) -> Self {
        self.development = development;
        self
    }

    /// Tables that are guarded when the service starts, so that the database refuses to change
    /// them without a record. On Postgres as SQL would name them (`accounting.entry`), and only
    /// if this connection owns them; better is `SELECT accounting_audit.guard('accounting.entry')`
    /// in the migration that makes the table.
    pub fn guard<T: Into<String>>(mut self, tables: impl IntoIterator<Item = T>) -> Self {
        self.tables
            .guarded
            .extend(tables.into_iter().map(Into::into));
        self
    }

    /// A table whose changes need no record, and why. On Postgres, better in its migration:
    /// `SELECT accounting_audit.exempt('accounting.job', 'why')`.
    pub fn exempt(mut self, table: impl Into<String>, reason: impl Into<String>) -> Self {
        self.tables.exempt.push((table.into(), reason.into()));
        self
    }

    /// The schemas in which every table has to be guarded or exempt, in place of the connection's
    /// current schema and the one that is named like the service. Postgres only.
    pub fn tables_in<T: Into<String>>(mut self, schemas: impl IntoIterator<Item = T>) -> Self {
        self.tables.schemas = schemas.into_iter().map(Into::into).collect();
        self
    }

    /// The role that the service connects as, for a [`check`](Self::check) by somebody else.
    /// [`start`](Self::start) checks the one that it connects as itself. Postgres only.
    pub fn app_role(mut self, role: impl Into<String>) -> Self {
        self.app_role = Some(role.into());
        self
    }

    /// Brings the audit schema up to date, and guards and exempts the tables named here.
    ///
    /// [`start`](Self::start) does it too where it may. Call this before the service's own
    /// migrations if they call `guard()`, or from a deployment whose role may migrate.
    ///
    /// # Errors
    ///
    /// When a name is unusable, the database cannot be reached, or the schema cannot be migrated.
    pub async fn migrate(&self) -> Result<(), Error> {
        let schema = self.schema_name()?;
        let store = Store::open(self.pool.clone(), schema, Some(1))?;
        let mut connection = store.connections.lend().await.map_err(Error::Store)?;
        let mut audited = store.schema(&mut connection, &self.service);
        audited.migrate().await?;
        audited.apply(&self.tables).await?;
        connection.release();
        match store.create_partitions().await {
            // Those of this month and the next ones were made with the schema, or by an earlier call.
            Err(error @ Error::Locked { .. }) => store.warn_of_partitions(&error),
            done => done?,
        }
        Ok(())
    }

    /// Gives `app`, the role that the service connects as, what it needs and nothing else, and
    /// `reader`, if there is one, the views that compliance reads. Postgres only; call it as the
    /// schema's owner.
    ///
    /// # Errors
    ///
    /// When a role does not exist, or this connection may not grant.
    pub async fn grant(&self, app: Option<&str>, reader: Option<&str>) -> Result<(), Error> {
        let schema = self.schema_name()?;
        let store = Store::open(self.pool.clone(), schema, Some(1))?;
        let mut connection = store.connections.lend().await.map_err(Error::Store)?;
        let mut audited = store.schema(&mut connection, &self.service);
        for (function, role) in [("grant_app", app), ("grant_reader", reader)] {
            if let Some(role) = role {
                audited.grant(function, role).await?;
            }
        }
        connection.release();
        Ok(())
    }

    /// Looks for everything that would let a change be committed without its record, or a record
    /// be changed.
    ///
    /// # Errors
    ///
    /// When a name is unusable or the database cannot be asked.
    pub async fn check(&self) -> Result<Report, Error> {
        let schema = self.schema_name()?;
        let store = Store::open(self.pool.clone(), schema, Some(1))?;
        let mut connection = store.connections.lend().await.map_err(Error::Store)?;
        let mut audited = store.schema(&mut connection, &self.service);
        let report = audited
            .check(self.app_role.as_deref(), &self.tables)
            .await?;
        connection.release();
        Ok(report)
    }

    /// Who can still bypass what, and how that is found out.
    ///
    /// # Errors
    ///
    /// When a name is unusable or the database cannot be asked.
    pub async fn explain(&self) -> Result<Explanation, Error> {
        let schema = self.schema_name()?;
        let store = Store::open(self.pool.clone(), schema, Some(1))?;
        let mut connection = store.connections.lend().await.map_err(Error::Store)?;
        let explained = store
            .schema(&mut connection, &self.service)
            .explain()
            .await?;
        connection.release();
        Ok(explained)
    }

    /// Brings the audit schema up to date if it has to and may, checks the database, and starts.
    ///
    /// # Errors
    ///
    /// When a name is unusable, the database cannot be reached, or the schema cannot be migrated;
    /// [`Error::Unsafe`] when the database would let changes go unaudited, with each remedy.
    pub async fn start(self) -> Result<Audit<DB>, Error> {
        let schema = self.schema_name()?;
        let store = Arc::new(Store::open(
            self.pool.clone(),
            schema,
            self.max_connections,
        )?);
        let mut connection = store.connections.lend().await.map_err(Error::Store)?;
        let mut audited = store.schema(&mut connection, &self.service);
        audited.bring_up_to_date(&self.tables).await?;
        connection.release();
        // A dump holds the locks for hours; whether one is missing that is needed soon, the check says.
        if let Err(error) = store.create_partitions().await {
            store.warn_of_partitions(&error);
        }
        let mut connection = store.connections.lend().await.map_err(Error::Store)?;
        let mut audited = store.schema(&mut connection, &self.service);
        let report = audited.check(None, &self.tables).await?;
        connection.release();
        let unusable = report.findings.iter().any(Finding::is_fatal);
        if !report.is_clean() && (unusable || !self.development) {
            return Err(Error::Unsafe(report));
        }
        for finding in &report.findings {
            tracing::warn!(
                remedy = finding.remedy,
                "{}; only warned of, as this is development",
                finding.message
            );
        }
        tokio::spawn(maintain(Arc::downgrade(&store)));
        let core = Arc::new(Core {
            service: self.service,
            service_version: self.service_version,
            store: Arc::clone(&store) as Arc<dyn AnyStore>,
            actors: self.actors,
            client_addresses: self.client_addresses,
            observe_only: self.observe_only,
            grace: self.grace,
            commit_within: self.commit_within,
            metrics: Metrics::new(),
            rate_limiter: RateLimiter::new(self.anonymous_attempts, self.actor_attempts),
            tasks: TaskTracker::new(),
        });
        tokio::spawn(summarise(Arc::downgrade(&core)));
        Ok(Audit {
            work: Committer { core, store },
            pool: self.pool,
        })
    }

    fn schema_name(&self) -> Result<String, Error> {
        schema_name(&self.service, self.schema.as_deref())
    }
}

impl<DB: AuditDatabase> std::fmt::Debug for AuditBuilder<DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditBuilder")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl<DB: AuditDatabase> Audit<DB> {
    /// Auditing of `service` in the database of `pool`, not yet [started](AuditBuilder::start).
    ///
    /// Audited work runs on connections of its own, made through `pool` and as many as `pool`
    /// may have (on SQLite one): count them when you size the database.
    pub fn builder(pool: Pool<DB>, service: impl Into<String>) -> AuditBuilder<DB> {
        AuditBuilder {
            pool,
            service: service.into(),
            service_version: None,
            schema: None,
            actors: None,
            client_addresses: None,
            observe_only: false,
            grace: GRACE,
            commit_within: COMMIT,
            anonymous_attempts: PER_MINUTE,
            actor_attempts: None,
            max_connections: None,
            development: false,
            tables: Tables::default(),
            app_role: None,
        }
    }
}
