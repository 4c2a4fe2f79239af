//! Attacks that never worked, and must not start to work. More of them are in `tests/centre` and `tests/specs`.

mod escalate_in_postgres;
mod escalate_in_vault;
mod log_in_under_an_odd_name;
mod read_from_a_session;
mod sign_wider;
mod speak_for_another_host;
mod write_to_a_terminal;
