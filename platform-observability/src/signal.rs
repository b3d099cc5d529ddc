//! OpenTelemetry's signals.

use std::fmt;
use std::ops::{Index, IndexMut};

/// One of OpenTelemetry's signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// Spans.
    Traces,
    /// Data points of metrics.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    pub(crate) const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// The name in OTLP's paths: `traces`, `metrics`, `logs`.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// The name in environment variables, such as `OTEL_TRACES_EXPORTER`.
    pub(crate) fn variable(self) -> String {
        self.path().to_ascii_uppercase()
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

/// One value for each signal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerSignal<T> {
    /// For spans.
    pub traces: T,
    /// For the data points of metrics.
    pub metrics: T,
    /// For log records.
    pub logs: T,
}

impl<T> PerSignal<T> {
    pub(crate) fn from_fn(make: impl FnMut(Signal) -> T) -> Self {
        let [traces, metrics, logs] = Signal::ALL.map(make);
        Self {
            traces,
            metrics,
            logs,
        }
    }

    pub(crate) fn try_from_fn<E>(mut make: impl FnMut(Signal) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            traces: make(Signal::Traces)?,
            metrics: make(Signal::Metrics)?,
            logs: make(Signal::Logs)?,
        })
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (Signal, T)> {
        let values = [self.traces, self.metrics, self.logs];
        Signal::ALL.into_iter().zip(values)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Signal, &T)> {
        Signal::ALL
            .into_iter()
            .map(|signal| (signal, &self[signal]))
    }
}

impl<T> Index<Signal> for PerSignal<T> {
    type Output = T;

    fn index(&self, signal: Signal) -> &T {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
            Signal::Logs => &self.logs,
        }
    }
}

impl<T> IndexMut<Signal> for PerSignal<T> {
    fn index_mut(&mut self, signal: Signal) -> &mut T {
        match signal {
            Signal::Traces => &mut self.traces,
            Signal::Metrics => &mut self.metrics,
            Signal::Logs => &mut self.logs,
        }
    }
}
