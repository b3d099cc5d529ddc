//! The propagators and the HTTP methods that the environment lists.

use super::env::Env;
use crate::error::Error;
use crate::http::KnownMethods;
use crate::propagation::Propagator;

/// `OTEL_PROPAGATORS`; by default W3C Trace Context and W3C Baggage.
pub(super) fn propagator(env: Env<'_>) -> Result<Propagator, Error> {
    const VARIABLE: &str = "OTEL_PROPAGATORS";
    let Some(value) = env.string(VARIABLE)? else {
        return Ok(Propagator::new(true, true));
    };
    let (mut trace_context, mut baggage) = (false, false);
    for name in value.split(',').map(str::trim) {
        match name {
            "tracecontext" => trace_context = true,
            "baggage" => baggage = true,
            "none" => {}
            other => {
                return Err(Error::variable(
                    VARIABLE,
                    format!("contains `{other}`, which is not a supported propagator"),
                    "list `tracecontext` and `baggage`, or `none`",
                ));
            }
        }
    }
    Ok(Propagator::new(trace_context, baggage))
}

/// `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS`, which replaces the default methods and is
/// case-sensitive.
pub(super) fn known_methods(env: Env<'_>) -> Result<KnownMethods, Error> {
    const VARIABLE: &str = "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS";
    let Some(value) = env.string(VARIABLE)? else {
        return Ok(KnownMethods::default());
    };
    let names = value.split(',').map(str::trim);
    let methods = names.filter(|name| !name.is_empty()).map(|name| {
        name.parse().map_err(|_| {
            Error::variable(
                VARIABLE,
                format!("contains `{name}`, which is not an HTTP method"),
                "separate methods with commas, such as `GET,POST,PURGE`, or unset it",
            )
        })
    });
    Ok(KnownMethods::only(methods.collect::<Result<_, _>>()?))
}
