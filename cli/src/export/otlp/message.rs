//! Records as messages of OTLP.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::Value;
use vctl_common::time::wall_now;

use crate::export::ecs::{Record, Severity};

/// Builds one request. The body of each log record is the ECS document.
pub(super) fn request(records: &[Record]) -> ExportLogsServiceRequest {
    let observed = nanos(wall_now());
    let log_records = records.iter().map(|record| log_record(record, observed));
    let scope = InstrumentationScope {
        name: "vctl".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let scope_logs = ScopeLogs {
        scope: Some(scope),
        log_records: log_records.collect(),
        ..ScopeLogs::default()
    };
    let resource = Resource {
        attributes: vec![attribute("service.name", "vctl")],
        ..Resource::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![scope_logs],
            ..ResourceLogs::default()
        }],
    }
}

fn log_record(record: &Record, observed: u64) -> LogRecord {
    let (severity, severity_text) = match record.severity {
        Severity::Event => (SeverityNumber::Info, "INFO"),
        Severity::Alert | Severity::Incomplete => (SeverityNumber::Warn, "WARN"),
    };
    let mut attributes = vec![attribute("event.id", &record.id)];
    let host = record.document["host"]["name"].as_str();
    attributes.extend(host.map(|host| attribute("host.name", host)));
    LogRecord {
        time_unix_nano: nanos(record.time),
        observed_time_unix_nano: observed,
        severity_number: severity.into(),
        severity_text: severity_text.to_owned(),
        event_name: format!("vctl.{}", record.action),
        body: Some(any_value(&record.document)),
        attributes,
        ..LogRecord::default()
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn attribute(name: &str, value: &str) -> KeyValue {
    key_value(name, &Value::from(value))
}

fn key_value(name: &str, value: &Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(any_value(value)),
        ..KeyValue::default()
    }
}

fn any_value(value: &Value) -> AnyValue {
    let value = match value {
        Value::Null => None,
        Value::Bool(value) => Some(any_value::Value::BoolValue(*value)),
        Value::Number(number) => Some(match number.as_i64() {
            Some(number) => any_value::Value::IntValue(number),
            None => any_value::Value::DoubleValue(number.as_f64().unwrap_or_default()),
        }),
        Value::String(text) => Some(any_value::Value::StringValue(text.clone())),
        Value::Array(items) => Some(any_value::Value::ArrayValue(ArrayValue {
            values: items.iter().map(any_value).collect(),
        })),
        Value::Object(fields) => Some(any_value::Value::KvlistValue(KeyValueList {
            values: fields
                .iter()
                .map(|(name, value)| key_value(name, value))
                .collect(),
        })),
    };
    AnyValue { value }
}
