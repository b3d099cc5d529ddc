//! Private certificate authorities and mutual TLS.

use std::io::Write as _;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `127.0.0.1` and its key, as PEM and DER.
struct Certified {
    pem: Vec<u8>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn certified(issuer: &Authority, purpose: ExtendedKeyUsagePurpose) -> Certified {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![purpose];
    let certificate = params.signed_by(&key, issuer).unwrap();
    Certified {
        pem: format!("{}{}", certificate.pem(), key.serialize_pem()).into_bytes(),
        certificate: certificate.der().clone(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    }
}

/// An endpoint that accepts clients whose certificate `authority` has signed.
fn tls_backend(authority: &Authority) -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let server = certified(authority, ExtendedKeyUsagePurpose::ServerAuth);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![server.certificate], server.key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/v1/any", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            if read_request(&mut stream).is_some() {
                respond(&mut stream, "200 OK", "", b"");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    url
}

fn providers_with_tls(url: &str, tls: &Tls, timeout: Duration) -> Providers {
    let mut config = config_for(url, timeout, 100, Limits::default());
    config.exporters.metrics = Exporter::None;
    config.exporters.logs = Exporter::None;
    endpoint(&mut config, Signal::Traces).tls = tls.clone();
    start(&config, None)
}

#[test]
fn the_configured_authority_and_client_certificate_are_used() {
    let (trusted, other) = (authority(), authority());
    let url = tls_backend(&trusted);
    let client = certified(&trusted, ExtendedKeyUsagePurpose::ClientAuth).pem;
    let untrusted = certified(&other, ExtendedKeyUsagePurpose::ClientAuth).pem;
    let pem = |authority: &Authority| Some(authority.pem().into_bytes());
    for (authorities, identity, exported) in [
        (pem(&trusted), Some(client.clone()), 1),
        (pem(&trusted), None, 0),
        (pem(&trusted), Some(untrusted), 0),
        (pem(&other), Some(client.clone()), 0),
        (None, Some(client), 0),
    ] {
        let tls = Tls {
            authorities,
            identity,
        };
        // A failed handshake is retried until the timeout.
        let timeout = match exported {
            1 => TIMEOUT,
            _ => Duration::from_millis(700),
        };
        let providers = providers_with_tls(&url, &tls, timeout);
        spans(&providers, 1);
        let status = flush(&providers);
        assert_eq!(
            (status.exported, status.dropped_failed),
            (exported, 1 - exported)
        );
        assert_eq!(status.last_error.is_none(), exported == 1, "{status:?}");
    }
}

#[test]
fn an_invalid_certificate_is_an_error_at_start_up() {
    let pem = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_vec();
    let url = "https://127.0.0.1:1/v1/traces";
    for (authorities, identity) in [(None, Some(pem.clone())), (Some(pem), None)] {
        let mut config = config_for(url, TIMEOUT, 100, Limits::default());
        endpoint(&mut config, Signal::Traces).tls = Tls {
            authorities,
            identity,
        };
        let resource = Resource::builder_empty().build();
        let error = Providers::new(&config, &resource, None).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("traces") && text.contains("OTEL_EXPORTER_OTLP_CLIENT_KEY"),
            "{text}"
        );
    }
}
