//! Medians, and how far the figures lie apart.

pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of at least one figure; `low` and `high` are its quartiles.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
        Self {
            median: at(2),
            low: at(1),
            high: at(3),
        }
    }

    /// Of how `those` are to `these`, round by round: within a round the machine's noise is nearly
    /// the same.
    pub(crate) fn of_ratios(those: &[f64], these: &[f64]) -> Self {
        let rounds = those.iter().zip(these);
        Self::of(rounds.map(|(that, this)| that / this).collect())
    }

    /// Whether the middle half lies further apart than a tenth of the median.
    pub(crate) fn is_noisy(&self) -> bool {
        self.high - self.low > self.median / 10.0
    }
}
