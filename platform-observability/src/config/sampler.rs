//! Which traces are recorded.

use opentelemetry_sdk::trace::Sampler;

use super::Variables;
use crate::Error;
use crate::http::Sampling;

const VARIABLE: &str = "OTEL_TRACES_SAMPLER";
const ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// The sampler of `OTEL_TRACES_SAMPLER`, and what is known of it. Not the SDK's own reading, which
/// takes what it cannot read for the default.
pub(super) fn sampler(variables: Variables<'_>) -> Result<(Sampler, Sampling), Error> {
    let name = variables.read(VARIABLE)?;
    let name = name.as_deref().unwrap_or("parentbased_always_on");
    let (follows_callers, root) = match name.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, name),
    };
    let sampler = match root {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(ratio(variables)?),
        _ => {
            return Err(Error::Variable {
                variable: VARIABLE.to_owned(),
                problem: format!("is `{name}`, which is no sampler here"),
                remedy: "set it to `always_on`, `always_off` or `traceidratio`, each with or without `parentbased_` in front, or unset it",
            });
        }
    };
    let sampler = match follows_callers {
        true => Sampler::ParentBased(Box::new(sampler)),
        false => sampler,
    };
    let sampling = Sampling {
        follows_callers,
        keeps_roots: root == "always_on",
    };
    Ok((sampler, sampling))
}

fn ratio(variables: Variables<'_>) -> Result<f64, Error> {
    let Some(told) = variables.read(ARGUMENT)? else {
        return Ok(1.0);
    };
    let ratio = told.parse().ok();
    let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| Error::Variable {
        variable: ARGUMENT.to_owned(),
        problem: format!("is `{told}`, which is no share of the traces"),
        remedy: "set it to a number from 0 to 1, or unset it",
    })
}
