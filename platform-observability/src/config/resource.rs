use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_semantic_conventions::attribute as attr;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::env::{Env, parse_pairs};
use crate::error::Error;

const VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Returns the service's name and its resource: the attributes that are set in code, overridden by
/// those of the environment.
pub(crate) fn resource(
    service: &str,
    attributes: impl IntoIterator<Item = (&'static str, Option<String>)>,
    env: Env<'_>,
) -> Result<(String, Resource), Error> {
    let mut all = vec![
        (attr::SERVICE_NAME.to_owned(), service.trim().to_owned()),
        (
            attr::SERVICE_INSTANCE_ID.to_owned(),
            Uuid::new_v4().to_string(),
        ),
    ];
    let attributes = attributes.into_iter();
    all.extend(attributes.filter_map(|(key, value)| Some((key.to_owned(), value?))));
    if let Some(list) = env.string(VARIABLE)? {
        all.extend(parse(&list)?);
    }
    if let Some(name) = env.string("OTEL_SERVICE_NAME")? {
        all.push((attr::SERVICE_NAME.to_owned(), name));
    }
    let name = all.iter().rev().find(|(key, _)| key == attr::SERVICE_NAME);
    let service = name.map(|(_, name)| name.clone()).unwrap_or_default();
    if service.is_empty() {
        return Err(Error::setting(
            "builder",
            "has no service name",
            "name the service, such as `accounting`, or set OTEL_SERVICE_NAME",
        ));
    }
    let all = all.into_iter();
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(all.map(|(key, value)| KeyValue::new(key, value)))
        .build();
    Ok((service, resource))
}

/// `key=value,key=value`, percent-encoded (OpenTelemetry's resource specification).
fn parse(list: &str) -> Result<Vec<(String, String)>, Error> {
    let attribute = |(key, value): (&str, String)| {
        let key = percent_decode_str(key).decode_utf8().ok()?;
        (!key.is_empty()).then(|| (key.into_owned(), value))
    };
    let attributes = parse_pairs(list).and_then(|pairs| pairs.into_iter().map(attribute).collect());
    attributes.ok_or_else(|| {
        Error::variable(
            VARIABLE,
            "is not a list of attributes",
            "write it as `key=value,key=value`; percent-encode commas and equals signs inside keys and values",
        )
    })
}
