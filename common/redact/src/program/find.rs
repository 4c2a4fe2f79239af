//! Finds the row of a program by its name.
use super::Program;

/// The rows in groups; a name belongs to one row.
const GROUPS: &[&[Program]] = &[
    super::databases::TABLE,
    super::web::TABLE,
    super::logins::TABLE,
    super::keys::TABLE,
    super::clouds::TABLE,
    super::packages::TABLE,
    super::runners::TABLE,
];

/// Slots of the hash table: a power of two, at least twice the number of names.
const SLOTS: usize = 2048;

/// A name and its row.
type Slot = (&'static [u8], &'static Program);

/// Finds a program by the last part of its path.
///
/// Not a `HashMap`: this lookup runs for every exec and often for every word of a command string,
/// and the standard map's hash alone costs more than the whole lookup here.
#[derive(Debug)]
pub(crate) struct Programs {
    slots: Box<[Option<Slot>]>,
}

impl Programs {
    pub(crate) fn new() -> Self {
        let mut slots = vec![None; SLOTS].into_boxed_slice();
        for program in GROUPS.iter().copied().flatten() {
            for name in program.names {
                let free =
                    probe(name.as_bytes()).find(|&at| slots.get(at).is_some_and(Option::is_none));
                if let Some(slot) = free.and_then(|at| slots.get_mut(at)) {
                    *slot = Some((name.as_bytes(), program));
                }
            }
        }
        Self { slots }
    }

    /// Returns the program that `path` names, also as `python3.11` or, for a login shell, `-bash`.
    pub(crate) fn find(&self, path: &[u8]) -> Option<&'static Program> {
        let name = memchr::memrchr(b'/', path)
            .and_then(|at| path.get(at + 1..))
            .unwrap_or(path);
        let name = name.strip_prefix(b"-").unwrap_or(name);
        let digits = matches!(name.last(), Some(b'0'..=b'9'));
        self.named(name).or_else(|| {
            if !digits {
                return None;
            }
            let end = name
                .iter()
                .rposition(|byte| !byte.is_ascii_digit() && *byte != b'.')?
                + 1;
            self.named(name.get(..end)?)
        })
    }

    fn named(&self, name: &[u8]) -> Option<&'static Program> {
        for at in probe(name) {
            let (known, program) = (*self.slots.get(at)?)?;
            if known == name {
                return Some(program);
            }
        }
        None
    }
}

/// Returns the slots in which a name may be, the most probable one first.
///
/// Length, first, last and middle byte separate the names well enough in a table with so many free
/// slots.
fn probe(name: &[u8]) -> impl Iterator<Item = usize> {
    let byte = |at: usize| name.get(at).copied().map_or(0, usize::from);
    let last = name.len().wrapping_sub(1);
    let hash = name.len().wrapping_mul(0x9E5)
        ^ byte(0).wrapping_mul(0x1F3)
        ^ byte(1).wrapping_mul(0x2D)
        ^ byte(name.len() / 2).wrapping_mul(0xC7)
        ^ byte(last).wrapping_mul(0x11);
    (0..SLOTS).map(move |step| (hash + step) % SLOTS)
}

#[cfg(test)]
mod tests {
    use super::{GROUPS, Programs, SLOTS};

    #[test]
    fn every_name_stands_in_one_row() {
        let mut names: Vec<_> = GROUPS
            .iter()
            .copied()
            .flatten()
            .flat_map(|row| row.names)
            .collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(names.len() * 2 <= SLOTS);
        let programs = Programs::new();
        assert!(
            names
                .iter()
                .all(|name| programs.find(name.as_bytes()).is_some())
        );
    }

    #[test]
    fn paths_versions_and_login_shells_find_their_program() {
        let programs = Programs::new();
        for path in [
            "/usr/bin/mysql",
            "python3.11",
            "-bash",
            "gpg2",
            "/lib64/ld-linux-x86-64.so.2",
        ] {
            assert!(programs.find(path.as_bytes()).is_some(), "`{path}`");
        }
        assert!(programs.find(b"/usr/bin/mysqlx").is_none());
    }
}
