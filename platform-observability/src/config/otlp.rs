use std::collections::HashMap;

use super::{Destination, Endpoint, Environment, Signal, check_url, read};
use crate::Error;

const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The collector that the environment names, else the console.
pub(super) fn from_environment(
    signal: Signal,
    environment: Environment<'_>,
) -> Result<Destination, Error> {
    check_protocol(signal, environment)?;
    let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", signal.variable());
    if let Some(url) = read(&own, environment) {
        check_url(&own, &url)?;
        return Ok(destination(url));
    }
    match read(BASE, environment) {
        Some(base) => at(&base, signal),
        None => Ok(Destination::Console),
    }
}

/// The signal's path below a collector's base URL.
pub(super) fn at(base: &str, signal: Signal) -> Result<Destination, Error> {
    check_url(BASE, base)?;
    Ok(destination(format!(
        "{}/v1/{}",
        base.trim_end_matches('/'),
        signal.path()
    )))
}

fn destination(url: String) -> Destination {
    // Headers, time-outs and compression of a collector are the exporter's to read.
    Destination::Otlp(Endpoint {
        url,
        headers: HashMap::new(),
        gzip: false,
    })
}

fn check_protocol(signal: Signal, environment: Environment<'_>) -> Result<(), Error> {
    let own = format!("OTEL_EXPORTER_OTLP_{}_PROTOCOL", signal.variable());
    for variable in [own, "OTEL_EXPORTER_OTLP_PROTOCOL".to_owned()] {
        match read(&variable, environment).as_deref() {
            None | Some("http/protobuf") => {}
            Some(other) => {
                return Err(Error::Variable {
                    problem: format!("is `{other}`, which this library does not speak"),
                    variable,
                    remedy: "set it to `http/protobuf` (port 4318 of most collectors), or unset it",
                });
            }
        }
    }
    Ok(())
}
