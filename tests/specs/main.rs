//! What vctl promises, on a real host: one file per promise.
mod lab;
