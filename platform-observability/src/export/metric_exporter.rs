//! Metrics as OTLP requests, each no larger than an endpoint takes.
//!
//! Not opentelemetry-otlp's exporter, as what it is given cannot be cut: the SDK has no way to make
//! a part of its `ResourceMetrics`.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use opentelemetry_http::{Bytes, HttpClient as _, HttpError, Request};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use prost::Message as _;

use super::client::Client;
use super::counted::{BYTES, ITEMS};
use super::status::Ledger;
use crate::config::{Compression, Endpoint};

#[derive(Debug)]
pub(super) struct MetricExporter {
    client: Client,
    ledger: Arc<Ledger>,
    url: String,
    compression: Compression,
    temporality: Temporality,
}

impl MetricExporter {
    pub(super) fn new(
        client: Client,
        ledger: Arc<Ledger>,
        endpoint: &Endpoint,
        temporality: Temporality,
    ) -> Self {
        Self {
            client,
            ledger,
            url: endpoint.url.clone(),
            compression: endpoint.compression,
            temporality,
        }
    }

    async fn send(&self, request: &ExportMetricsServiceRequest) -> Result<(), HttpError> {
        let (encoding, body) = compress(request.encode_to_vec(), self.compression)?;
        let mut request = Request::post(&self.url).header(CONTENT_TYPE, "application/x-protobuf");
        if let Some(encoding) = encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        let answer = self.client.send_bytes(request.body(body)?).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(status.to_string().into()),
        }
    }
}

impl PushMetricExporter for MetricExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut result = Ok(());
        for request in cut(metrics.into()) {
            let points = points(&request);
            self.ledger.began(points);
            let sent = self.send(&request).await;
            self.ledger.ended(points, sent.is_ok());
            let sent = sent.map_err(|error| OTelSdkError::InternalFailure(error.to_string()));
            result = result.and(sent);
        }
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}

/// The same as requests that are small enough, or cannot be smaller.
fn cut(request: ExportMetricsServiceRequest) -> Vec<ExportMetricsServiceRequest> {
    let all = points(&request);
    if all <= 1 || (all <= ITEMS && request.encoded_len() <= BYTES) {
        return vec![request];
    }
    let half = all / 2;
    let (mut first, mut rest) = (request.clone(), request);
    keep(&mut first, |point| point < half);
    keep(&mut rest, |point| point >= half);
    let mut requests = cut(first);
    requests.append(&mut cut(rest));
    requests
}

/// Leaves only the data points whose number, counted through the whole request, `stays`.
fn keep(request: &mut ExportMetricsServiceRequest, stays: impl Fn(usize) -> bool) {
    fn retain<T>(points: &mut Vec<T>, mut stays: impl FnMut() -> bool) -> bool {
        points.retain(|_| stays());
        !points.is_empty()
    }
    let mut number = 0;
    let mut stays = || {
        number += 1;
        stays(number - 1)
    };
    for resource in &mut request.resource_metrics {
        for scope in &mut resource.scope_metrics {
            scope.metrics.retain_mut(|metric| match &mut metric.data {
                Some(Data::Gauge(of)) => retain(&mut of.data_points, &mut stays),
                Some(Data::Sum(of)) => retain(&mut of.data_points, &mut stays),
                Some(Data::Histogram(of)) => retain(&mut of.data_points, &mut stays),
                Some(Data::ExponentialHistogram(of)) => retain(&mut of.data_points, &mut stays),
                Some(Data::Summary(of)) => retain(&mut of.data_points, &mut stays),
                None => false,
            });
        }
        resource
            .scope_metrics
            .retain(|scope| !scope.metrics.is_empty());
    }
}

/// How many data points a request has.
fn points(request: &ExportMetricsServiceRequest) -> usize {
    let scopes = request
        .resource_metrics
        .iter()
        .flat_map(|it| &it.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    let counts = metrics.map(|metric| match &metric.data {
        Some(Data::Gauge(of)) => of.data_points.len(),
        Some(Data::Sum(of)) => of.data_points.len(),
        Some(Data::Histogram(of)) => of.data_points.len(),
        Some(Data::ExponentialHistogram(of)) => of.data_points.len(),
        Some(Data::Summary(of)) => of.data_points.len(),
        None => 0,
    });
    counts.sum()
}

/// The value of `Content-Encoding`, and what goes with it.
fn compress(body: Vec<u8>, compression: Compression) -> io::Result<(Option<&'static str>, Bytes)> {
    match compression {
        Compression::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&body)?;
            Ok((Some("gzip"), encoder.finish()?.into()))
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => Ok((Some("zstd"), zstd::bulk::compress(&body, 0)?.into())),
        // What is not compiled in was refused at the start.
        _ => Ok((None, body.into())),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::metrics::v1::{
        Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data,
    };
    use prost::Message as _;

    use super::super::counted::{BYTES, ITEMS};
    use super::{cut, points};

    /// A gauge and a sum of so many data points each, of so many bytes each.
    fn request(of_each: usize, bytes: usize) -> ExportMetricsServiceRequest {
        let point = |n: usize| NumberDataPoint {
            time_unix_nano: n.try_into().unwrap(),
            attributes: vec![KeyValue {
                key: "text".to_owned(),
                value: Some(AnyValue {
                    value: Some(any_value::Value::StringValue("x".repeat(bytes))),
                }),
                ..KeyValue::default()
            }],
            ..NumberDataPoint::default()
        };
        let metric = |name: &str, data| Metric {
            name: name.to_owned(),
            data: Some(data),
            ..Metric::default()
        };
        let gauge = Data::Gauge(Gauge {
            data_points: (0..of_each).map(point).collect(),
        });
        let sum = Data::Sum(Sum {
            data_points: (of_each..2 * of_each).map(point).collect(),
            ..Sum::default()
        });
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                scope_metrics: vec![ScopeMetrics {
                    metrics: vec![metric("gauge", gauge), metric("sum", sum)],
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        }
    }

    /// The numbers of the points, in order, each with its metric's name.
    fn all(requests: &[ExportMetricsServiceRequest]) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        for request in requests {
            for metric in &request.resource_metrics[0].scope_metrics[0].metrics {
                let points = match metric.data.as_ref().unwrap() {
                    Data::Gauge(gauge) => &gauge.data_points,
                    Data::Sum(sum) => &sum.data_points,
                    other => panic!("{other:?}"),
                };
                assert!(!points.is_empty(), "{}", metric.name);
                let numbers = points.iter().map(|point| point.time_unix_nano);
                all.extend(numbers.map(|number| (metric.name.clone(), number)));
            }
        }
        all
    }

    #[test]
    fn what_is_too_large_or_too_many_is_cut_and_nothing_lost() {
        for (of_each, bytes) in [(5, 1 << 20), (ITEMS, 0), (3 * ITEMS, 1), (1, 2 * BYTES)] {
            let whole = request(of_each, bytes);
            let expected = all(std::slice::from_ref(&whole));
            let cut = cut(whole);
            assert!(cut.len() > 1);
            assert_eq!(all(&cut), expected);
            for request in &cut {
                let (points, bytes) = (points(request), request.encoded_len());
                assert!(points == 1 || (points <= ITEMS && bytes <= BYTES));
            }
        }
    }

    #[test]
    fn what_fits_is_left_whole() {
        for request in [request(10, 10), request(0, 0)] {
            assert_eq!(cut(request.clone()), [request]);
        }
    }
}
