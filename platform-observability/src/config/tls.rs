//! Certificates of an endpoint that the public authorities do not know.

use std::fs;

use super::otlp::names;
use super::{Signal, Variables};
use crate::Error;

/// What an endpoint's certificate is checked against, and what the service shows of itself; each
/// as PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// Instead of the authorities that the machine trusts.
    pub(crate) authorities: Option<Vec<u8>>,
    /// A certificate and its key.
    pub(crate) client: Option<Vec<u8>>,
}

impl Tls {
    /// By `OTEL_EXPORTER_OTLP_CERTIFICATE`, `…_CLIENT_CERTIFICATE` and `…_CLIENT_KEY`, or the
    /// signal's own, each the path of a file.
    pub(super) fn from_environment(
        signal: Signal,
        variables: Variables<'_>,
    ) -> Result<Self, Error> {
        let pem =
            |what, kinds: &[&str], remedy| file(names(signal, what), kinds, remedy, variables);
        let authorities = pem(
            "CERTIFICATE",
            &["CERTIFICATE"],
            "name a file of certificates as PEM, or unset it",
        )?;
        let certificate = pem(
            "CLIENT_CERTIFICATE",
            &["CERTIFICATE"],
            "name a file of certificates as PEM, or unset it",
        )?;
        let key = pem(
            "CLIENT_KEY",
            &["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"],
            "name a file with an unencrypted private key as PEM, or unset it",
        )?;
        let alone = |variable, lacking: &str| Error::Variable {
            variable,
            problem: format!("is set, and the variable of its {lacking} is not"),
            remedy: "set both OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY, or neither",
        };
        let client = match (certificate, key) {
            (None, None) => None,
            (Some((_, mut certificate)), Some((_, key))) => {
                certificate.push(b'\n');
                certificate.extend(key);
                Some(certificate)
            }
            (Some((variable, _)), None) => return Err(alone(variable, "key")),
            (None, Some((variable, _))) => return Err(alone(variable, "certificate")),
        };
        Ok(Self {
            authorities: authorities.map(|(_, pem)| pem),
            client,
        })
    }
}

/// The file that a variable names, with the variable.
fn file(
    variables_of_it: [String; 2],
    kinds: &[&str],
    remedy: &'static str,
    variables: Variables<'_>,
) -> Result<Option<(String, Vec<u8>)>, Error> {
    let Some((variable, path)) = variables.first(variables_of_it)? else {
        return Ok(None);
    };
    let wrong = |problem| Error::Variable {
        variable: variable.clone(),
        problem,
        remedy,
    };
    let pem = fs::read(&path)
        .map_err(|error| wrong(format!("names `{path}`, which cannot be read ({error})")))?;
    let text = String::from_utf8_lossy(&pem);
    let holds = |kind: &&str| text.contains(&format!("-----BEGIN {kind}-----"));
    if !kinds.iter().any(holds) {
        let kind = kinds[0].to_ascii_lowercase();
        return Err(wrong(format!(
            "names `{path}`, which holds no {kind} as PEM"
        )));
    }
    Ok(Some((variable, pem)))
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.authorities.is_some())
            .field("client", &self.client.is_some())
            .finish()
    }
}
