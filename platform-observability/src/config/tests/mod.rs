mod errors;
mod exporters;
mod settings;

use std::ffi::OsString;

use http::HeaderValue;

use super::{Config, Endpoint, Env, Exporter, ExporterChoice, Limits};
use crate::error::Error;

/// Calls `then` with an environment in which only the variables of `set` exist.
fn with<T>(set: &[(&str, &str)], then: impl FnOnce(Env<'_>) -> T) -> T {
    let lookup = |name: &str| {
        let found = set.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| OsString::from(value))
    };
    then(Env(&lookup))
}

fn resolve(set: &[(&str, &str)]) -> Result<Config, Error> {
    resolve_choice(&ExporterChoice::FromEnvironment, set)
}

fn resolve_choice(choice: &ExporterChoice, set: &[(&str, &str)]) -> Result<Config, Error> {
    with(set, |env| {
        Config::resolve("accounting", choice, Limits::default(), env)
    })
}

fn endpoint(exporter: &Exporter) -> &Endpoint {
    match exporter {
        Exporter::Otlp(endpoint) => endpoint,
        other => panic!("not an endpoint: {other:?}"),
    }
}

fn header<'a>(endpoint: &'a Endpoint, name: &str) -> Option<&'a str> {
    let found = endpoint.headers.iter().find(|(header, _)| header == name);
    found.map(|(_, value)| HeaderValue::to_str(value).unwrap())
}
