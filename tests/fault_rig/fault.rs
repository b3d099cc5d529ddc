//! The kinds of faults, and how each is injected.

use std::time::Duration;

use platform_harness::wire::{Cut, Wire};
use sqlx::{Connection, PgConnection};
use test_server::Server;

use crate::service::Service;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    KillService,
    StopService,
    CrashPostgres,
    CutConnections,
    HoldConnections,
    DelayConnections,
    CutBeforeCommit,
    CutAfterCommit,
    FillPool,
    ShiftClock,
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::KillService,
        Self::StopService,
        Self::CrashPostgres,
        Self::CutConnections,
        Self::HoldConnections,
        Self::DelayConnections,
        Self::CutBeforeCommit,
        Self::CutAfterCommit,
        Self::FillPool,
        Self::ShiftClock,
    ];

    /// The number of kinds. The clock can be shifted only if libfaketime is installed.
    pub(crate) const fn kinds(with_clock: bool) -> usize {
        Self::ALL.len() - !with_clock as usize
    }

    /// The faults of a round, in order. Over several rounds, each kind is equally frequent.
    pub(crate) fn of_round(seed: u64, round: u64, count: usize, with_clock: bool) -> Vec<Self> {
        let mut kinds: Vec<_> = Self::ALL
            .into_iter()
            .filter(|kind| with_clock || *kind != Self::ShiftClock)
            .collect();
        let first = (round as usize * count) % kinds.len();
        let mut random =
            fastrand::Rng::with_seed(seed ^ (round * count as u64 / kinds.len() as u64));
        random.shuffle(&mut kinds);
        (0..count)
            .map(|n| kinds[(first + n) % kinds.len()])
            .collect()
    }
}

/// The service, its database, and the proxy between them.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) wire: Wire,
    pub(crate) service: Service,
}

impl Stage {
    /// Injects `fault` and ends it. Returns when the service and the database are running again.
    pub(crate) async fn inject(
        &mut self,
        fault: Fault,
        random: &mut fastrand::Rng,
    ) -> Result<(), String> {
        let a_while = Duration::from_millis(random.u64(50..500));
        match fault {
            Fault::KillService => {
                self.service.kill().await;
                self.service.start().await?;
            }
            Fault::StopService => {
                self.service.signal("-STOP").await?;
                tokio::time::sleep(a_while).await;
                self.service.signal("-CONT").await?;
            }
            Fault::CrashPostgres => {
                self.server.crash()?;
                self.server.resume()?;
            }
            Fault::CutConnections => self.wire.cut(),
            Fault::HoldConnections => {
                self.wire.hold(true);
                tokio::time::sleep(a_while).await;
                if random.bool() {
                    self.wire.cut();
                }
                self.wire.hold(false);
            }
            Fault::DelayConnections => {
                self.wire.delay(Duration::from_millis(random.u64(1..40)));
                tokio::time::sleep(a_while).await;
                self.wire.delay(Duration::ZERO);
            }
            Fault::CutBeforeCommit => self.cut_in_commit(Cut::BeforeServer).await,
            Fault::CutAfterCommit => self.cut_in_commit(Cut::BeforeClient).await,
            Fault::FillPool => self.fill_pool(a_while).await?,
            Fault::ShiftClock => {
                let seconds = random.i64(-86_400..86_400);
                self.service.shift_clock(seconds)?;
            }
        }
        Ok(())
    }

    async fn cut_in_commit(&self, side: Cut) {
        self.wire.cut_when(side, |message| {
            // COMMIT alone, or at the end of a longer query.
            message.kind == 'Q' && message.sql.is_some_and(|sql| sql.ends_with("COMMIT"))
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    /// Locks the table for twice `a_while`, so that requests occupy all connections of the pool.
    async fn fill_pool(&self, a_while: Duration) -> Result<(), String> {
        let locked = async {
            let mut connection = PgConnection::connect(&self.server.url()).await?;
            sqlx::raw_sql("BEGIN; LOCK TABLE entry IN EXCLUSIVE MODE")
                .execute(&mut connection)
                .await?;
            tokio::time::sleep(2 * a_while).await;
            sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
            connection.close().await
        };
        locked
            .await
            .map_err(|error: sqlx::Error| format!("the table could not be locked: {error}"))
    }
}
