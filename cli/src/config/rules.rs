//! The key `dc_rules`: data centres by address prefix.

use serde_json::{Value, json};
use vctl_common::config::{Raw, Shown};

/// A data centre, and the prefixes of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DcRule {
    pub(crate) name: String,
    pub(crate) prefixes: Vec<String>,
}

/// Reads a list of `{name: .., prefixes: [..]}`.
pub(super) fn read(raw: &Raw) -> Result<Vec<DcRule>, String> {
    match raw {
        Raw::Text(text) => match Raw::from_yaml(text)? {
            Raw::Text(_) => Err("not a list of rules".to_owned()),
            raw => read(&raw),
        },
        Raw::Map(_) => Err("a map, but a list of rules is expected".to_owned()),
        Raw::List(rules) => {
            let numbered = rules.iter().zip(1_usize..);
            let read = numbered.map(|(rule, number)| {
                read_one(rule).map_err(|why| format!("rule {number}: {why}"))
            });
            read.collect()
        }
    }
}

fn read_one(raw: &Raw) -> Result<DcRule, String> {
    let Raw::Map(entries) = raw else {
        return Err("not a map with `name` and `prefixes`".to_owned());
    };
    let (mut name, mut prefixes) = (String::new(), Vec::new());
    for (key, value) in entries {
        match key.as_str() {
            "name" => name = value.one()?,
            "prefixes" => prefixes = value.list()?,
            other => return Err(format!("unknown key `{}`", other.escape_debug())),
        }
    }
    if name.is_empty() {
        return Err("`name` is missing".to_owned());
    }
    if prefixes.is_empty() {
        return Err(format!("`{}` has no `prefixes`", name.escape_debug()));
    }
    Ok(DcRule { name, prefixes })
}

pub(super) fn show(rules: &[DcRule]) -> Shown {
    let rules = rules
        .iter()
        .map(|rule| json!({ "name": rule.name, "prefixes": rule.prefixes }));
    Shown::Value(Value::Array(rules.collect()))
}
