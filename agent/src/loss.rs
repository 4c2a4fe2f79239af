//! Every way to lose an event, in one table.
//!
//! | where | how it shows | gap |
//! |---|---|---|
//! | the ring has no room | a session number that never arrives, and the kernel's counter | `RingFull` |
//! | the kernel skips a probe | its count of recursion misses | `ProbeSkipped` |
//! | the map of marks is full at a fork | the session's `unmarked_forks` | `MarksFull` |
//! | a map is full at a login | the kernel accepts no mark: the login is tried again | `StampedLate`, then `MarksFull` |
//! | the kernel refuses to remove a mark at an exit | as a ring without room | `RingFull` |
//! | a record cannot be decoded | the pipeline counts it | `Undecodable` |
//! | the login is stamped late, or never | the file of the late login | `StampedLate` |
//! | no hook asks for a login: it cannot start, or was killed | the map `logins` | `LoginWithoutStamp` |
//! | no probe was loaded | the time since the last event in the spool | `ProbeAway` |
//! | the spool drops or cannot read a segment | the spool | `SpoolCap`, `SpoolDamaged` |
//! | JetStream loses batches | no earlier message, and the cursor is before | `StreamLost` |
//! | the centre loses batches that the spool has dropped | the cursor is before a shipped position | `CentreLost` |
//! | a session is over its byte budget | no event is lost: argv is cut | `EXEC_OVER_BUDGET` on the exec |
