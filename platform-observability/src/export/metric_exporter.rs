//! Exports metrics as OTLP requests, each no larger than an endpoint accepts.
//!
//! opentelemetry-otlp's exporter sends all metrics in one request, and the SDK's `ResourceMetrics`
//! cannot be split. So the requests are encoded here.

use std::io::{self, Write as _};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpError};
use opentelemetry_otlp::Compression;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use prost::Message as _;

use super::delivery::Delivery;
use super::request::protobuf_headers;
use super::size::{MAX_BYTES, MAX_ITEMS};

#[derive(Debug)]
pub(super) struct OtlpMetricExporter {
    delivery: Delivery,
    temporality: Temporality,
}

impl OtlpMetricExporter {
    pub(super) fn new(delivery: Delivery, temporality: Temporality) -> Self {
        Self {
            delivery,
            temporality,
        }
    }

    fn send(&self, request: &ExportMetricsServiceRequest) -> Result<(), HttpError> {
        let batch = self.delivery.batch(count_points(request));
        let compression = self.delivery.transport.endpoint.compression;
        let (encoding, body) = compress(request.encode_to_vec(), compression)?;
        match batch.deliver(&protobuf_headers(encoding), &body)?.status() {
            status if status.is_success() => Ok(()),
            status => Err(status.to_string().into()),
        }
    }
}

impl PushMetricExporter for OtlpMetricExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let request = ExportMetricsServiceRequest::from(metrics);
        self.delivery
            .transport
            .stats
            .sending(count_points(&request));
        let mut result = Ok(());
        for request in split(request) {
            let sent = self.send(&request);
            result =
                result.and(sent.map_err(|error| OTelSdkError::InternalFailure(error.to_string())));
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

/// Splits a request until each part is small enough, or has one data point.
fn split(request: ExportMetricsServiceRequest) -> Vec<ExportMetricsServiceRequest> {
    let points = count_points(&request);
    if points <= 1 || (points <= MAX_ITEMS && request.encoded_len() <= MAX_BYTES) {
        return vec![request];
    }
    let half = points / 2;
    let (mut first, mut rest) = (request.clone(), request);
    retain_points(&mut first, |index| index < half);
    retain_points(&mut rest, |index| index >= half);
    let mut requests = split(first);
    requests.append(&mut split(rest));
    requests
}

/// Retains the data points whose index, counted through the whole request, `is_kept`.
fn retain_points(request: &mut ExportMetricsServiceRequest, is_kept: impl Fn(usize) -> bool) {
    fn retain<T>(points: &mut Vec<T>, mut is_kept: impl FnMut() -> bool) -> bool {
        points.retain(|_| is_kept());
        !points.is_empty()
    }
    let mut next = 0;
    let mut is_kept = || {
        next += 1;
        is_kept(next - 1)
    };
    for resource in &mut request.resource_metrics {
        for scope in &mut resource.scope_metrics {
            scope.metrics.retain_mut(|metric| match &mut metric.data {
                Some(Data::Gauge(data)) => retain(&mut data.data_points, &mut is_kept),
                Some(Data::Sum(data)) => retain(&mut data.data_points, &mut is_kept),
                Some(Data::Histogram(data)) => retain(&mut data.data_points, &mut is_kept),
                Some(Data::ExponentialHistogram(data)) => {
                    retain(&mut data.data_points, &mut is_kept)
                }
                Some(Data::Summary(data)) => retain(&mut data.data_points, &mut is_kept),
                None => false,
            });
        }
        resource
            .scope_metrics
            .retain(|scope| !scope.metrics.is_empty());
    }
}

fn count_points(request: &ExportMetricsServiceRequest) -> usize {
    let scopes = request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    let counts = metrics.map(|metric| match &metric.data {
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
        None => 0,
    });
    counts.sum()
}

/// Returns the compressed body with the value of `Content-Encoding`.
fn compress(
    body: Vec<u8>,
    compression: Option<Compression>,
) -> io::Result<(Option<&'static str>, Bytes)> {
    match compression {
        Some(Compression::Gzip) => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&body)?;
            Ok((Some("gzip"), encoder.finish()?.into()))
        }
        #[cfg(feature = "zstd")]
        Some(Compression::Zstd) => Ok((Some("zstd"), zstd::bulk::compress(&body, 0)?.into())),
        // `None`; zstd without its feature was refused by the configuration.
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

    use super::super::size::{MAX_BYTES, MAX_ITEMS};
    use super::{count_points, split};

    /// A gauge and a sum, each with `of_each` data points of `bytes` bytes.
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

    /// The numbers of the points, in order, with their metrics' names.
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
    fn metrics_too_large_or_too_many_for_one_request_are_split_without_loss() {
        for (of_each, bytes) in [
            (5, 1 << 20),
            (MAX_ITEMS, 0),
            (3 * MAX_ITEMS, 1),
            (1, 2 * MAX_BYTES),
        ] {
            let whole = request(of_each, bytes);
            let expected = all(std::slice::from_ref(&whole));
            let parts = split(whole);
            assert!(parts.len() > 1);
            assert_eq!(all(&parts), expected);
            for request in &parts {
                let (points, bytes) = (count_points(request), request.encoded_len());
                assert!(points == 1 || (points <= MAX_ITEMS && bytes <= MAX_BYTES));
            }
        }
    }

    #[test]
    fn metrics_that_fit_into_one_request_are_not_split() {
        for request in [request(10, 10), request(0, 0)] {
            assert_eq!(split(request.clone()), [request]);
        }
    }
}
