//! `vctl-agent node`: what a host says of itself, every few minutes.

mod address;
mod collector;
mod facts;
mod heart;
mod pace;
mod parse;
mod report;
