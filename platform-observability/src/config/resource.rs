use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::Variables;
use crate::Error;

const VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// Who sends: what the code says, replaced by what the environment says.
///
/// Returns the service's name with it.
pub(crate) fn resource(
    service: &str,
    coded: impl IntoIterator<Item = (&'static str, Option<String>)>,
    variables: Variables<'_>,
) -> Result<(String, Resource), Error> {
    let mut attributes = vec![
        ("service.name".to_owned(), service.trim().to_owned()),
        ("service.instance.id".to_owned(), Uuid::new_v4().to_string()),
    ];
    let coded = coded.into_iter();
    attributes.extend(coded.filter_map(|(key, value)| Some((key.to_owned(), value?))));
    if let Some(listed) = variables.read(VARIABLE)? {
        attributes.extend(parse(&listed)?);
    }
    if let Some(name) = variables.read("OTEL_SERVICE_NAME")? {
        attributes.push(("service.name".to_owned(), name));
    }
    let named = attributes
        .iter()
        .rev()
        .find(|(key, _)| key == "service.name");
    let service = named.map(|(_, name)| name.clone()).unwrap_or_default();
    if service.is_empty() {
        return Err(Error::Setting {
            setting: "builder",
            problem: "got no service name".to_owned(),
            remedy: "name the service, such as `accounting`, or set OTEL_SERVICE_NAME",
        });
    }
    let attributes = attributes
        .into_iter()
        .map(|(key, value)| KeyValue::new(key, value));
    let resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes)
        .build();
    Ok((service, resource))
}

/// `key=value,key=value`, percent-encoded (OpenTelemetry's resource specification).
fn parse(listed: &str) -> Result<Vec<(String, String)>, Error> {
    let decode = |text: &str| {
        let text = percent_decode_str(text.trim()).decode_utf8().ok()?;
        Some(text.into_owned())
    };
    let entries = listed
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let parsed = entries.map(|entry| {
        let (key, value) = entry.split_once('=')?;
        Some((decode(key).filter(|key| !key.is_empty())?, decode(value)?))
    });
    parsed.collect::<Option<_>>().ok_or_else(|| Error::Variable {
        variable: VARIABLE.to_owned(),
        problem: "is not a list of attributes".to_owned(),
        remedy: "write it as `key=value,key=value`, with other commas and signs percent-encoded",
    })
}
