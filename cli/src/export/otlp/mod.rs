//! OpenTelemetry logs over OTLP/HTTP, in protobuf.
//!
//! The messages are those of `opentelemetry-proto` (7 crates more). `opentelemetry-otlp` was examined: its exporter
//! takes only records of its own SDK, and it hides how many records the receiver rejected, so no checkpoint could rely
//! on it.

mod message;
mod receiver;

pub(crate) use receiver::Receiver;
