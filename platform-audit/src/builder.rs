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
use crate::check::{Explanation, Finding, FindingKind, Report};
use crate::core::{Core, summarise};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::rate_limit::{ANONYMOUS_PER_MINUTE, RateLimiter};
use crate::store::{AnyStore, AuditDatabase, Store, Tables, maintain, schema_name};
use crate::transaction::Committer;

/// The default of [`AuditBuilder::abandoned_after`].
const GRACE: Duration = Duration::from_secs(30);

/// The default of [`AuditBuilder::commit_within`].
const COMMIT: Duration = Duration::from_secs(60);

/// The options of a service's auditing. [`Audit::builder`] returns it.
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
    #[cfg(feature = "seal")]
    pub(crate) seal: Option<crate::seal::Seal>,
    #[cfg(feature = "seal")]
    pub(crate) published: Option<std::path::PathBuf>,
}

impl<DB: AuditDatabase> AuditBuilder<DB> {
    /// The service's version, for every record, such as `env!("CARGO_PKG_VERSION")`.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.service_version = Some(version.into());
        self
    }

    /// The schema of the audit tables, or on SQLite their prefix. The default is `<service>_audit`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Determines the actor of requests that have no [`Actor`](crate::Actor) in their extensions.
    pub fn actor_from(mut self, source: impl ActorSource) -> Self {
        self.actors = Some(Actors(Arc::new(source)));
        self
    }

    /// Determines the client's address behind proxies. It is stored in records, including those of
    /// reads through the explorer, and used by the rate limits of attempts.
    ///
    /// The default, and the fallback if `source` returns `None`, is the connection's peer (axum's
    /// `ConnectInfo<SocketAddr>`), which may be a proxy. Do not trust headers that a client can
    /// set: `platform_observability::http::TrustedProxies` evaluates only those of your proxies.
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

    /// Reports unaudited changes and missing actors instead of refusing the requests, for adopting
    /// the audit layer in an existing service.
    ///
    /// The changes of audited handlers are still committed only with their records.
    pub fn observe_only(mut self) -> Self {
        self.observe_only = true;
        self
    }

    /// How long a handler may continue after its client has disconnected, before it is rolled back
    /// and recorded as timed out. The default is 30 seconds. If a timeout layer has already
    /// responded, the handler is rolled back at once.
    pub fn abandoned_after(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The timeout for writing the records and committing, after which the outcome is unknown (503,
    /// [`Error::OutcomeUnknown`]). The default is 60 seconds. A synchronous standby can delay a
    /// COMMIT, and a server that vanished never responds.
    pub fn commit_within(mut self, deadline: Duration) -> Self {
        self.commit_within = deadline;
        self
    }

    /// How many attempts of anonymous clients are recorded one by one, per minute, action and
    /// client address (the /64 prefix for IPv6), with a burst of the same size. The default is 30.
    ///
    /// Attempts over the limit are only counted: in one record per minute of the action
    /// `attempt.suppress`, and in
    /// [`AuditStatus::suppressed_attempts`](crate::AuditStatus::suppressed_attempts). Their
    /// responses have no `Audit-Record-Id`.
    ///
    /// The address is that of [`client_address_from`](Self::client_address_from). Clients without an
    /// address share a limit. Successes have no limit. For attempts by known actors, see
    /// [`actor_attempts`](Self::actor_attempts).
    pub fn anonymous_attempts(mut self, per_minute: NonZeroU32) -> Self {
        self.anonymous_attempts = per_minute;
        self
    }

    /// How many attempts of a known actor are recorded one by one, per minute and action, with a
    /// burst of the same size. The default is no limit. Attempts over the limit are only counted,
    /// in the same record as [anonymous ones](Self::anonymous_attempts), which lists the actors
    /// with the most attempts.
    ///
    /// Successes have no limit. An actor is identified by kind, id and tenant, not by address.
    ///
    /// With a limit, a flood hides the same actor's further attempts at the same action except for
    /// their count. Without one, a client that can log in can fill the table.
    pub fn actor_attempts(mut self, per_minute: NonZeroU32) -> Self {
        self.actor_attempts = Some(per_minute);
        self
    }

    /// The maximum number of connections for audited operations, at least 1. The default is the
    /// pool's maximum. On SQLite it is always 1.
    pub fn max_connections(mut self, max: u32) -> Self {
        self.max_connections = Some(max);
        self
    }

    /// Starts even if the database would allow unaudited changes, and logs a warning for each
    /// finding: `development(cfg!(debug_assertions))` for a developer's machine. The start still
    /// fails if records cannot be written: if the schema is missing or outdated, or the role lacks
    /// privileges.
    pub fn development(mut self, development: bool) -> Self {
        self.development = development;
        self
    }

    /// Guards tables when the service starts: the database refuses to commit their changes without
    /// a record. Names are as in SQL (`accounting.entry` on Postgres).
    ///
    /// On Postgres this works only if the connection's role owns the tables. Prefer
    /// `SELECT accounting_audit.guard('accounting.entry')` in the migration that creates the table.
    pub fn guard<T: Into<String>>(mut self, tables: impl IntoIterator<Item = T>) -> Self {
        self.tables
            .guarded
            .extend(tables.into_iter().map(Into::into));
        self
    }

    /// Exempts a table, whose changes need no record, for a reason. On Postgres, prefer
    /// `SELECT accounting_audit.exempt('accounting.job', 'reason')` in the migration that creates
    /// it.
    pub fn exempt(mut self, table: impl Into<String>, reason: impl Into<String>) -> Self {
        self.tables.exempt.push((table.into(), reason.into()));
        self
    }

    /// The schemas in which every table has to be guarded or exempt. The default is the
    /// connection's current schema and the schema with the service's name. Postgres only.
    pub fn tables_in<T: Into<String>>(mut self, schemas: impl IntoIterator<Item = T>) -> Self {
        self.tables.schemas = schemas.into_iter().map(Into::into).collect();
        self
    }

    /// The service's database role, for a [`check`](Self::check) through another role's connection.
    /// [`start`](Self::start) checks the role of its own connection. Postgres only.
    pub fn app_role(mut self, role: impl Into<String>) -> Self {
        self.app_role = Some(role.into());
        self
    }

    /// Seals the log while the service runs; see [`seal`](crate::seal). Any number of instances may
    /// do that: one at a time seals.
    #[cfg(feature = "seal")]
    pub fn seal(mut self, seal: crate::seal::Seal) -> Self {
        self.seal = Some(seal);
        self
    }

    /// Migrates the audit schema, and guards and exempts the tables named here.
    ///
    /// [`start`](Self::start) does the same if its role has the privileges. Call this before the
    /// service's own migrations if they call `guard()`, or in a deployment with a role of its own.
    ///
    /// # Errors
    ///
    /// If a name is invalid, the database cannot be reached, or the schema cannot be migrated.
    pub async fn migrate(&self) -> Result<(), Error> {
        let store = self.open(Some(1))?;
        let mut connection = store.connections.acquire().await.map_err(Error::Store)?;
        let mut audited = store.schema(&mut connection, &self.service);
        audited.migrate().await?;
        audited.apply(&self.tables).await?;
        connection.release();
        match store.create_partitions().await {
            // The migration, or an earlier call, created the partitions that are needed soon.
            Err(error @ Error::Locked { .. }) => store.warn_of_partitions(&error),
            done => done?,
        }
        Ok(())
    }

    /// Grants `app`, the service's database role, the privileges that it needs, and `reader` read
    /// access to the views for compliance staff. Revokes all other privileges of both roles on the
    /// audit schema. Postgres only; the connection's role must be the schema's owner.
    ///
    /// # Errors
    ///
    /// If a role does not exist, or this connection's role may not grant.
    pub async fn grant(&self, app: Option<&str>, reader: Option<&str>) -> Result<(), Error> {
        let store = self.open(Some(1))?;
        let mut connection = store.connections.acquire().await.map_err(Error::Store)?;
        let mut audited = store.schema(&mut connection, &self.service);
        for (function, role) in [("grant_app", app), ("grant_reader", reader)] {
            if let Some(role) = role {
                audited.grant(function, role).await?;
            }
        }
        connection.release();
        Ok(())
    }

    /// Checks the database for everything that would allow a change to be committed without its
    /// record, or a record to be changed.
    ///
    /// # Errors
    ///
    /// If a name is invalid or the database cannot be queried.
    pub async fn check(&self) -> Result<Report, Error> {
        let store = self.open(Some(1))?;
        let mut connection = store.connections.acquire().await.map_err(Error::Store)?;
        let mut audited = store.schema(&mut connection, &self.service);
        #[cfg_attr(
            not(feature = "seal"),
            allow(unused_mut, reason = "for the sealed log")
        )]
        let mut report = audited
            .check(self.app_role.as_deref(), &self.tables)
            .await?;
        connection.release();
        #[cfg(feature = "seal")]
        report.findings.extend(self.contradiction(&store).await?);
        Ok(report)
    }

    /// Explains which roles can still bypass the guard, and how that would be detected.
    ///
    /// # Errors
    ///
    /// If a name is invalid or the database cannot be queried.
    pub async fn explain(&self) -> Result<Explanation, Error> {
        let store = self.open(Some(1))?;
        let mut connection = store.connections.acquire().await.map_err(Error::Store)?;
        let explained = store
            .schema(&mut connection, &self.service)
            .explain()
            .await?;
        connection.release();
        Ok(explained)
    }

    /// Migrates the audit schema if it is outdated and the role has the privileges, checks the
    /// database, and starts.
    ///
    /// # Errors
    ///
    /// If a name is invalid, the database cannot be reached, or the schema cannot be migrated.
    /// [`Error::Unsafe`], with all findings and their remedies, if the database would allow
    /// unaudited changes.
    pub async fn start(self) -> Result<Audit<DB>, Error> {
        let store = Arc::new(self.open(self.max_connections)?);
        let mut connection = store.connections.acquire().await.map_err(Error::Store)?;
        let mut audited = store.schema(&mut connection, &self.service);
        audited.bring_up_to_date(&self.tables).await?;
        connection.release();
        // Not an error: a dump can hold the locks for hours. The check reports a missing partition
        // a month before it is needed.
        if let Err(error) = store.create_partitions().await {
            store.warn_of_partitions(&error);
        }
        let mut connection = store.connections.acquire().await.map_err(Error::Store)?;
        let mut audited = store.schema(&mut connection, &self.service);
        let mut report = audited.check(None, &self.tables).await?;
        connection.release();
        // Not an error: nothing sealed while the service was stopped, and requests never depend on
        // sealing.
        report.findings.retain(|finding| {
            let is_behind = finding.kind == FindingKind::SealingBehind;
            if is_behind {
                tracing::warn!(remedy = finding.remedy, "{}", finding.message);
            }
            !is_behind
        });
        #[cfg(feature = "seal")]
        report.findings.extend(self.contradiction(&store).await?);
        let unusable = report.findings.iter().any(Finding::is_fatal);
        if !report.is_clean() && (unusable || !self.development) {
            return Err(Error::Unsafe(report));
        }
        for finding in &report.findings {
            tracing::warn!(
                remedy = finding.remedy,
                "{}; only a warning, because this is development",
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
        #[cfg(feature = "seal")]
        let sealer = self.seal.map(|seal| {
            let worker = crate::seal::Worker::new(seal, Arc::clone(&core.metrics.seal));
            let worker = Arc::new(tokio::sync::Mutex::new(worker));
            tokio::spawn(crate::seal::run(
                Arc::downgrade(&store),
                Arc::clone(&worker),
            ));
            worker
        });
        Ok(Audit {
            committer: Committer { core, store },
            pool: self.pool,
            #[cfg(feature = "seal")]
            sealer,
        })
    }

    #[cfg(feature = "seal")]
    pub(crate) fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    #[cfg(feature = "seal")]
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    pub(crate) fn open(&self, max_connections: Option<u32>) -> Result<Store<DB>, Error> {
        let schema = schema_name(&self.service, self.schema.as_deref())?;
        Store::open(self.pool.clone(), schema, max_connections)
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
    /// The options of auditing `service` in the database of `pool`, to be
    /// [started](AuditBuilder::start).
    ///
    /// Audited operations use connections of their own, opened with the options of `pool`, and at
    /// most as many as `pool` may have (one on SQLite). So the server has to accept up to twice as
    /// many connections.
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
            anonymous_attempts: ANONYMOUS_PER_MINUTE,
            actor_attempts: None,
            max_connections: None,
            development: false,
            tables: Tables::default(),
            app_role: None,
            #[cfg(feature = "seal")]
            seal: None,
            #[cfg(feature = "seal")]
            published: None,
        }
    }
}
