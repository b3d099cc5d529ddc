//! Medians and quartiles.

pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// The median and the quartiles (`low` and `high`) of at least one value.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
        Self {
            median: at(2),
            low: at(1),
            high: at(3),
        }
    }

    /// The ratios of `those` to `these`, computed per round: within a round the machine's noise is
    /// nearly the same.
    pub(crate) fn of_ratios(those: &[f64], these: &[f64]) -> Self {
        let rounds = those.iter().zip(these);
        Self::of(rounds.map(|(that, this)| that / this).collect())
    }

    /// Whether the quartiles differ by more than a tenth of the median.
    pub(crate) fn is_noisy(&self) -> bool {
        self.high - self.low > self.median / 10.0
    }
}
