//! The sampler that the environment selects.

use opentelemetry_sdk::trace::Sampler;

use super::env::Env;
use crate::error::Error;
use crate::http::SamplingHint;

const VARIABLE: &str = "OTEL_TRACES_SAMPLER";
const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// The sampler of `OTEL_TRACES_SAMPLER`. The SDK would replace an invalid value by its default.
pub(super) fn from_environment(env: Env<'_>) -> Result<(Sampler, SamplingHint), Error> {
    let name = env.string(VARIABLE)?;
    let name = name.as_deref().unwrap_or("parentbased_always_on");
    let (parent_based, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name),
    };
    let sampler = match root {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(ratio(env)?),
        _ => {
            return Err(Error::variable(
                VARIABLE,
                format!("is `{name}`, which is not a supported sampler"),
                "set it to `always_on`, `always_off` or `traceidratio`, each with or without the prefix `parentbased_`, or unset it",
            ));
        }
    };
    let sampler = match parent_based {
        true => Sampler::ParentBased(Box::new(sampler)),
        false => sampler,
    };
    let hint = SamplingHint {
        parent_based,
        samples_all_roots: root == "always_on",
    };
    Ok((sampler, hint))
}

fn ratio(env: Env<'_>) -> Result<f64, Error> {
    let Some(value) = env.string(ARGUMENT)? else {
        return Ok(1.0);
    };
    let ratio = value.parse().ok();
    ratio
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| {
            Error::variable(
                ARGUMENT,
                format!("is `{value}`, which is not a sampling ratio"),
                "set it to a number from 0 to 1, or unset it",
            )
        })
}
