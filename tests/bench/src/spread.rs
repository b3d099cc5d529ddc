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

    /// The spread of the ratios of two series of the same rounds. Each ratio is computed within a
    /// round, during which the machine's noise is nearly constant.
    pub(crate) fn of_ratios(numerators: &[f64], denominators: &[f64]) -> Self {
        let rounds = numerators.iter().zip(denominators);
        Self::of(
            rounds
                .map(|(numerator, denominator)| numerator / denominator)
                .collect(),
        )
    }

    /// Whether the quartiles differ by more than a tenth of the median.
    pub(crate) fn is_noisy(&self) -> bool {
        self.high - self.low > self.median / 10.0
    }
}
