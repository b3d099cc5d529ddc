//! Certificates that no public authority has signed.

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

/// A certificate for `127.0.0.1`, and its key, as PEM and as DER.
struct Certified {
    pem: Vec<u8>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn certified(by: &Authority, purpose: ExtendedKeyUsagePurpose) -> Certified {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![purpose];
    let certificate = params.signed_by(&key, by).unwrap();
    Certified {
        pem: format!("{}{}", certificate.pem(), key.serialize_pem()).into_bytes(),
        certificate: certificate.der().clone(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    }
}

/// Takes everything from clients whose certificate `authority` has signed, over TLS.
fn backend_for(authority: &Authority) -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let own = certified(authority, ExtendedKeyUsagePurpose::ServerAuth);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![own.certificate], own.key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/v1/any", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            if read_request(&mut stream).is_some() {
                answer(&mut stream, "200 OK", "", b"");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    url
}

fn with(url: &str, tls: &Tls, patience: Duration) -> Providers {
    let mut all = destinations(url, patience, 100, Limits::default());
    all.metrics = Destination::Nowhere;
    all.logs = Destination::Nowhere;
    if let Destination::Otlp(endpoint) = &mut all.traces {
        endpoint.tls = tls.clone();
    }
    started(&all, None)
}

#[test]
fn an_endpoint_is_trusted_by_the_authority_that_is_named_and_shown_the_certificate() {
    let (ours, anothers) = (authority(), authority());
    let url = backend_for(&ours);
    let client = certified(&ours, ExtendedKeyUsagePurpose::ClientAuth).pem;
    let stranger = certified(&anothers, ExtendedKeyUsagePurpose::ClientAuth).pem;
    let pem = |authority: &Authority| Some(authority.pem().into_bytes());
    for (authorities, client, taken) in [
        (pem(&ours), Some(client.clone()), 1),
        (pem(&ours), None, 0),
        (pem(&ours), Some(stranger), 0),
        (pem(&anothers), Some(client.clone()), 0),
        (None, Some(client), 0),
    ] {
        let tls = Tls {
            authorities,
            client,
        };
        // What is refused is tried again until then.
        let patience = match taken {
            1 => PATIENCE,
            _ => Duration::from_millis(700),
        };
        let providers = with(&url, &tls, patience);
        spans(&providers, 1);
        let status = flushed(&providers);
        assert_eq!((status.exported, status.dropped_failed), (taken, 1 - taken));
        assert_eq!(status.trouble.is_none(), taken == 1, "{status:?}");
    }
}

#[test]
fn what_is_no_certificate_is_refused_at_the_start() {
    let pem = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_vec();
    let url = "https://127.0.0.1:1/v1/traces";
    for (authorities, client) in [(None, Some(pem.clone())), (Some(pem), None)] {
        let mut all = destinations(url, PATIENCE, 100, Limits::default());
        if let Destination::Otlp(endpoint) = &mut all.traces {
            endpoint.tls = Tls {
                authorities,
                client,
            };
        }
        let resource = Resource::builder_empty().build();
        let error = Providers::new(&all, &resource, None).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("traces") && text.contains("OTEL_EXPORTER_OTLP_CLIENT_KEY"),
            "{text}"
        );
    }
}
