//! The parts that all commands share: exit codes, hints, manual, locale, timing.

mod doctor;
mod documented;
mod exit_codes;
mod hints;
mod locale;
mod manual;
mod round_trips;
mod stalls;
mod timing;
