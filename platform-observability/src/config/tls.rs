//! Certificates for endpoints that use a private certificate authority or mutual TLS.

use std::fs;

use super::env::Env;
use crate::error::Error;
use crate::signal::Signal;

/// The TLS settings of an endpoint, as PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The trusted certificate authorities; `None` is the system's list.
    pub(crate) authorities: Option<Vec<u8>>,
    /// The client's certificate followed by its key.
    pub(crate) identity: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files named by `OTEL_EXPORTER_OTLP_CERTIFICATE`, `…_CLIENT_CERTIFICATE` and
    /// `…_CLIENT_KEY`, or by the signal's own variables.
    pub(super) fn from_environment(signal: Signal, env: Env<'_>) -> Result<Self, Error> {
        let authorities = pem_file(
            env.otlp(signal, "CERTIFICATE")?,
            &["CERTIFICATE"],
            "name a PEM file with certificates, or unset it",
        )?;
        let certificate = pem_file(
            env.otlp(signal, "CLIENT_CERTIFICATE")?,
            &["CERTIFICATE"],
            "name a PEM file with certificates, or unset it",
        )?;
        let key = pem_file(
            env.otlp(signal, "CLIENT_KEY")?,
            &["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"],
            "name a PEM file with an unencrypted private key, or unset it",
        )?;
        let incomplete = |variable: String, missing: &str| {
            Error::variable(
                variable,
                format!("is set, but the variable for its {missing} is not"),
                "set both OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY, or neither",
            )
        };
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some((_, mut certificate)), Some((_, key))) => {
                certificate.push(b'\n');
                certificate.extend(key);
                Some(certificate)
            }
            (Some((variable, _)), None) => return Err(incomplete(variable, "key")),
            (None, Some((variable, _))) => return Err(incomplete(variable, "certificate")),
        };
        Ok(Self {
            authorities: authorities.map(|(_, pem)| pem),
            identity,
        })
    }
}

/// Reads the PEM file that a variable names.
fn pem_file(
    set: Option<(String, String)>,
    kinds: &[&str],
    remedy: &'static str,
) -> Result<Option<(String, Vec<u8>)>, Error> {
    let Some((variable, path)) = set else {
        return Ok(None);
    };
    let invalid = |problem: String| Error::variable(variable.clone(), problem, remedy);
    let pem = fs::read(&path)
        .map_err(|error| invalid(format!("names `{path}`, which cannot be read ({error})")))?;
    let text = String::from_utf8_lossy(&pem);
    let contains = |kind: &&str| text.contains(&format!("-----BEGIN {kind}-----"));
    if !kinds.iter().any(contains) {
        let kind = kinds[0].to_ascii_lowercase();
        return Err(invalid(format!(
            "names `{path}`, which contains no {kind} in PEM format"
        )));
    }
    Ok(Some((variable, pem)))
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.authorities.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}
