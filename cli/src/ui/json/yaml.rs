//! JSON documents in YAML block style.
//!
//! Every text and every key is quoted as in JSON, which YAML 1.2 accepts: no parser reads `no` as a boolean
//! or a serial as a number, and the escapes of JSON stay. The crate serde-saphyr cannot do this: it quotes
//! only where YAML needs it, and does not escape invisible characters.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::escape::Visible;

/// Writes a value as one document.
pub(crate) fn write(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let mut out = LineEnds { out, owed: false };
    let formatter = Visible::for_yaml(Blocks::default());
    value.serialize(&mut Serializer::with_formatter(&mut out, formatter))?;
    writeln!(out)
}

/// Formatter for lists and maps as indented blocks; empty ones as `[]` and `{}`.
#[derive(Default)]
pub(super) struct Blocks {
    /// For each open list or map, whether it has an item.
    around: Vec<bool>,
    /// Whether the line has only a dash: the first key of a map follows on the same line.
    after_dash: bool,
}

impl Blocks {
    fn begin(&mut self) {
        self.around.push(false);
    }

    fn end<W: ?Sized + Write>(&mut self, out: &mut W, empty: &str) -> io::Result<()> {
        if self.around.pop() == Some(false) {
            self.after_dash = false;
            out.write_all(empty.as_bytes())?;
        }
        Ok(())
    }

    fn next<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        let depth = self.around.len().saturating_sub(1);
        if let Some(has_any) = self.around.last_mut() {
            *has_any = true;
        }
        let beside_dash = std::mem::take(&mut self.after_dash) && first;
        if beside_dash || (first && depth == 0) {
            return Ok(());
        }
        writeln!(out)?;
        for _ in 0..depth {
            out.write_all(b"  ")?;
        }
        Ok(())
    }
}

impl Formatter for Blocks {
    fn begin_array<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.begin();
        Ok(())
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, "[]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)?;
        self.after_dash = true;
        out.write_all(b"- ")
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.after_dash = false;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.begin();
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, "{}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// Writer that delays a blank, to write none before a newline.
struct LineEnds<'a> {
    out: &'a mut dyn Write,
    owed: bool,
}

impl Write for LineEnds<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(first) = bytes.first() else {
            return Ok(());
        };
        if std::mem::take(&mut self.owed) && *first != b'\n' {
            self.out.write_all(b" ")?;
        }
        let rest = bytes.strip_suffix(b" ");
        self.owed = rest.is_some();
        self.out.write_all(rest.unwrap_or(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::fixture::rendered;

    #[test]
    fn a_document_reads_as_blocks() {
        let value = json!({
            "empty": [], "hosts": [{ "dc": "no", "ips": ["::1", "10.0.0.1"], "none": {} }, [], [[1], {}]],
            "version": 1,
        });
        let expected = "\
\"empty\": []
\"hosts\":
  - \"dc\": \"no\"
    \"ips\":
      - \"::1\"
      - \"10.0.0.1\"
    \"none\": {}
  - []
  - - - 1
    - {}
\"version\": 1
";
        assert_eq!(rendered(|out| write(out, &value)), expected);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ :#-]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z :\u{1}-]{0,5}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn yaml_parses_to_the_same_value(value in any_value()) {
            let text = rendered(|out| write(out, &value));
            let read: Value = serde_saphyr::from_str(&text)
                .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            prop_assert_eq!(read, value, "{}", text);
        }
    }
}
