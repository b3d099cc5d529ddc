use std::ffi::OsString;
use std::ops::RangeInclusive;

use percent_encoding::percent_decode_str;

use crate::error::Error;
use crate::signal::Signal;

/// The process's environment, or a test's substitute.
#[derive(Clone, Copy)]
pub(crate) struct Env<'a>(pub(crate) &'a dyn Fn(&str) -> Option<OsString>);

impl Env<'_> {
    /// The trimmed value of a variable. An empty variable counts as unset, by OpenTelemetry's
    /// specification.
    pub(crate) fn string(self, variable: &str) -> Result<Option<String>, Error> {
        let Some(value) = (self.0)(variable) else {
            return Ok(None);
        };
        let value = value
            .into_string()
            .map_err(|_| Error::variable(variable, "is not UTF-8", "rewrite it, or unset it"))?;
        let value = value.trim();
        Ok((!value.is_empty()).then(|| value.to_owned()))
    }

    /// `true` or `false`, case-insensitive; unset is `false`.
    pub(crate) fn bool(self, variable: &str) -> Result<bool, Error> {
        match self.string(variable)? {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(Error::variable(
                variable,
                format!("is `{value}`, which is neither true nor false"),
                "set it to `true` or `false`, or unset it",
            )),
        }
    }

    /// An integer within `bounds`. The error consists of the value, `problem` and `remedy`.
    pub(crate) fn integer(
        self,
        variable: &str,
        bounds: RangeInclusive<u64>,
        problem: &str,
        remedy: &'static str,
    ) -> Result<Option<u64>, Error> {
        let Some(value) = self.string(variable)? else {
            return Ok(None);
        };
        match value.parse() {
            Ok(number) if bounds.contains(&number) => Ok(Some(number)),
            _ => Err(Error::variable(
                variable,
                format!("is `{value}`, {problem}"),
                remedy,
            )),
        }
    }

    /// A signal's own OTLP variable, such as `OTEL_EXPORTER_OTLP_LOGS_HEADERS`, or else the one
    /// for all signals; with the name of the variable that was set.
    pub(crate) fn otlp(
        self,
        signal: Signal,
        suffix: &str,
    ) -> Result<Option<(String, String)>, Error> {
        for variable in otlp_variables(signal, suffix) {
            if let Some(value) = self.string(&variable)? {
                return Ok(Some((variable, value)));
            }
        }
        Ok(None)
    }
}

/// Parses `key=value,key=value`, with percent-encoded values. `None` if an entry is malformed.
pub(super) fn parse_pairs(list: &str) -> Option<Vec<(&str, String)>> {
    let entries = list.split(',').map(str::trim);
    let pairs = entries.filter(|entry| !entry.is_empty()).map(|entry| {
        let (key, value) = entry.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((key.trim(), value.into_owned()))
    });
    pairs.collect()
}

/// A signal's own OTLP variable, and the one for all signals that it overrides.
pub(super) fn otlp_variables(signal: Signal, suffix: &str) -> [String; 2] {
    [
        format!("OTEL_EXPORTER_OTLP_{}_{suffix}", signal.variable()),
        format!("OTEL_EXPORTER_OTLP_{suffix}"),
    ]
}
