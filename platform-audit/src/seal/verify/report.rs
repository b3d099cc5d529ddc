//! What a verification found.

use serde::Serialize;

/// The result of [`AuditBuilder::verify`](crate::AuditBuilder::verify).
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The number of entries in the log.
    pub size: u64,
    /// What was compared.
    pub checked: Checked,
    /// Records that are not sealed yet. The sealer has not seen them.
    pub unsealed: u64,
    /// Records that a restore has lost, which the log acknowledges.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost_in_restore: Vec<uuid::Uuid>,
    /// Records that an acknowledged restore has brought back without their seals, so they were
    /// sealed again: what they were before is not proven.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sealed_again: Vec<uuid::Uuid>,
    /// The names of the anchors: checkpoints from outside the database that agree with it.
    pub anchors: Vec<String>,
    /// The number of entries that the largest of these checkpoints covers.
    pub anchored: u64,
    /// What contradicts the log, in the order of positions; at most 1,000.
    pub findings: Vec<Harm>,
    /// How many findings there are.
    pub found: u64,
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Checked {
    /// Records, each with its seal.
    pub records: u64,
    /// Entries of the log: seals and others.
    pub entries: u64,
    /// Full tiles.
    pub tiles: u64,
    /// Checkpoints, of the database and from outside.
    pub checkpoints: u64,
}

/// One contradiction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Harm {
    /// What it is.
    pub kind: HarmKind,
    /// The first position in the log that it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// The position after the last one, if it concerns several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<u64>,
    /// The id of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The changed value, as far as it can be named; the partition, the tile, or the anchor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
}

/// The kinds of contradictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HarmKind {
    /// A value of a record was changed after it was sealed.
    Changed,
    /// A seal was replaced: it differs from the tile.
    SealDiffersFromTile,
    /// The tree has another root than a signed checkpoint of the database.
    RootMismatch,
    /// The tree has another root than a checkpoint from outside the database.
    AnchorMismatch,
    /// A sealed record is gone.
    Missing,
    /// Positions of the log are gone.
    PositionGap,
    /// The end of the log is gone.
    Truncated,
    /// The whole log is gone.
    LogMissing,
    /// A record was inserted later than it claims: the sealer should have seen it long before.
    UnsealedLate,
    /// Two records have the same id.
    Duplicate,
    /// Entries have exchanged positions.
    Reordered,
    /// A record was moved to another time.
    RecordedAtMismatch,
    /// A record is in a partition of other times.
    WrongPartition,
    /// A partition was dropped, which the log does not say.
    RetiredWithoutRecord,
    /// A value was erased, which the log does not say.
    ErasedWithoutRecord,
    /// A seal's salt or digest was altered.
    CommitmentMismatch,
    /// A value was written again after it was erased.
    ValueAfterErasure,
    /// A checkpoint has no valid signature of a key that the verifier was given.
    UnknownKey,
    /// A published checkpoint is older than another published one.
    StaleAnchor,
    /// Two signed checkpoints of the same size have different roots.
    SplitView,
    /// A checkpoint from outside the database is newer than the database.
    Rollback,
    /// A tile is lost or differs from the entries, while the entries agree with the checkpoints.
    TileMismatch,
    /// A column of the record is not known to this version, so its values are not checked.
    NewerSchema,
}

/// What a verification says as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Everything agrees with a checkpoint from outside the database.
    Proven,
    /// The database agrees with itself, but no checkpoint from outside was compared.
    Unanchored,
    /// Something contradicts the log.
    Harmed,
    /// There was nothing to check.
    NothingChecked,
}

/// The maximum number of findings in a report. A changed salt of each record would otherwise fill
/// the memory.
const MAX_FINDINGS: usize = 1_000;

impl Verification {
    /// What it says as a whole.
    pub fn verdict(&self) -> Verdict {
        if self.found > 0 {
            Verdict::Harmed
        } else if self.checked.entries == 0 || self.checked.records == 0 {
            Verdict::NothingChecked
        } else if self.anchors.is_empty() {
            Verdict::Unanchored
        } else {
            Verdict::Proven
        }
    }

    pub(super) fn add(&mut self, harm: Harm) {
        self.found += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(harm);
        }
    }
}

impl Harm {
    pub(super) fn new(kind: HarmKind) -> Self {
        Self {
            kind,
            position: None,
            end: None,
            record: None,
            what: None,
        }
    }

    pub(super) fn at(mut self, position: u64) -> Self {
        self.position = Some(position);
        self
    }

    pub(super) fn to(mut self, end: u64) -> Self {
        self.end = Some(end);
        self
    }

    pub(super) fn of(mut self, id: &[u8; 16]) -> Self {
        self.record = Some(uuid::Uuid::from_bytes(*id).to_string());
        self
    }

    pub(super) fn what(mut self, what: impl Into<String>) -> Self {
        self.what = Some(what.into());
        self
    }
}

impl HarmKind {
    /// What happened, for people.
    fn describe(self) -> &'static str {
        match self {
            Self::Changed => "a value was changed after it was sealed",
            Self::SealDiffersFromTile => "the seal was replaced: it differs from the tile",
            Self::RootMismatch => "the tree differs from a signed checkpoint of the database",
            Self::AnchorMismatch => "the tree differs from a checkpoint outside the database",
            Self::Missing => "the record is gone",
            Self::PositionGap => "the record and its seal are gone",
            Self::Truncated => "the end of the log is gone",
            Self::LogMissing => "the log is gone",
            Self::UnsealedLate => "the record was inserted later than it claims",
            Self::Duplicate => "another record has the same id",
            Self::Reordered => "the entry has exchanged its position with another one",
            Self::RecordedAtMismatch => "the record was moved to another time",
            Self::WrongPartition => "the record is in a partition of other times",
            Self::RetiredWithoutRecord => "the partition was dropped, which the log does not say",
            Self::ErasedWithoutRecord => "a value was erased, which the log does not say",
            Self::CommitmentMismatch => "the salt or the digest of the seal was altered",
            Self::ValueAfterErasure => "a value was written again after it was erased",
            Self::UnknownKey => "a checkpoint is not signed with a key of --vkey",
            Self::StaleAnchor => "an older checkpoint was put in the place of a newer one",
            Self::SplitView => "two signed checkpoints of the same size differ",
            Self::Rollback => "a published checkpoint is newer than the database",
            Self::TileMismatch => "the tile is lost or was altered; the entries are intact",
            Self::NewerSchema => "the column is not known to this version and was not checked",
        }
    }

    /// The name in JSON.
    pub fn name(self) -> String {
        let json = serde_json::to_value(self).unwrap_or_default();
        json.as_str().unwrap_or_default().to_owned()
    }
}

impl std::fmt::Display for Harm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.kind.name())?;
        match (self.position, self.end) {
            (Some(first), Some(end)) if end > first + 1 => {
                write!(f, "positions {first} to {}: ", end - 1)?;
            }
            (Some(position), _) => write!(f, "position {position}: ")?,
            _ => {}
        }
        if let Some(record) = &self.record {
            write!(f, "record {record}: ")?;
        }
        f.write_str(self.kind.describe())?;
        match &self.what {
            Some(what) => write!(f, " ({what})"),
            None => Ok(()),
        }
    }
}

/// The report for people.
impl std::fmt::Display for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for harm in &self.findings {
            writeln!(f, "{harm}")?;
        }
        let more = self.found - self.findings.len() as u64;
        if more > 0 {
            writeln!(f, "and {more} more")?;
        }
        let Checked {
            records,
            entries,
            tiles,
            checkpoints,
        } = self.checked;
        writeln!(
            f,
            "checked {records} records, {entries} entries, {tiles} tiles and {checkpoints} checkpoints"
        )?;
        if self.unsealed > 0 {
            writeln!(f, "{} records are not sealed yet", self.unsealed)?;
        }
        if !self.lost_in_restore.is_empty() {
            let lost = self.lost_in_restore.len();
            writeln!(
                f,
                "acknowledged_restore: {lost} records were lost in a restore:"
            )?;
            for id in &self.lost_in_restore {
                writeln!(f, "  {id}")?;
            }
        }
        if !self.sealed_again.is_empty() {
            let again = self.sealed_again.len();
            writeln!(
                f,
                "acknowledged_restore: {again} records were sealed again after a restore, which says nothing about what they were before:"
            )?;
            for id in &self.sealed_again {
                writeln!(f, "  {id}")?;
            }
        }
        match self.verdict() {
            Verdict::Proven => {
                write!(
                    f,
                    "proven: {} of {} entries are anchored in {}",
                    self.anchored,
                    self.size,
                    self.anchors.join(", ")
                )
            }
            Verdict::Unanchored => f.write_str(
                "consistent, unanchored: pass a published checkpoint (--tiles or --checkpoint), as the owner of the database could have rewritten all of it",
            ),
            Verdict::Harmed => write!(f, "harm found: {}", self.found),
            Verdict::NothingChecked => f.write_str(
                "nothing was checked: the log has no sealed records; is a sealer running?",
            ),
        }
    }
}
