//! Compares JSON with the documented schema. For tests only.
//!
//! Supports the part of JSON Schema that `docs/*.schema.json` use. An unknown keyword is an error, so that no
//! rule of a schema is ignored.

use serde_json::{Map, Value};

pub(crate) const OF_SESSIONS: &str = include_str!("../../../../docs/session.schema.json");
pub(crate) const OF_HOSTS: &str = include_str!("../../../../docs/inventory.schema.json");
pub(crate) const OF_STATUS: &str = include_str!("../../../../docs/status.schema.json");
pub(crate) const OF_WHOAMI: &str = include_str!("../../../../docs/whoami.schema.json");
pub(crate) const OF_RETENTION: &str = include_str!("../../../../docs/retention.schema.json");
pub(crate) const OF_FLEET: &str = include_str!("../../../../docs/fleet.schema.json");
pub(crate) const OF_ENROLLED: &str = include_str!("../../../../docs/host.schema.json");
pub(crate) const OF_CACHES: &str = include_str!("../../../../docs/cache.schema.json");
pub(crate) const OF_RBAC: &str = include_str!("../../../../docs/rbac.schema.json");
pub(crate) const OF_ACCESSES: &str = include_str!("../../../../docs/audit.schema.json");
pub(crate) const OF_VERIFY: &str = include_str!("../../../../docs/audit-verify.schema.json");

/// Panics with the place where `value` does not match the schema's definition `name`.
pub(crate) fn assert_fits(schema: &str, name: Option<&str>, value: &Value) {
    let root: Value = serde_json::from_str(schema).unwrap();
    let schema = name.map_or(&root, |name| &root["$defs"][name]);
    if let Err(problem) = fits(&root, schema, value, "$") {
        panic!("{problem}\n{value:#}");
    }
}

fn fits(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = schema.as_object().ok_or("a schema is an object")?;
    for (keyword, rule) in schema {
        let fine = match keyword.as_str() {
            "$ref" => {
                let name = rule.as_str().and_then(|name| name.strip_prefix("#/$defs/"));
                fits(root, &root["$defs"][name.unwrap()], value, at)?;
                true
            }
            "type" => is_a(rule.as_str().unwrap(), value),
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_u64() >= rule.as_u64(),
            "pattern" => matches(rule.as_str().unwrap(), value.as_str().unwrap_or_default()),
            "format" => has_format(rule.as_str().unwrap(), value.as_str().unwrap_or_default()),
            "anyOf" | "oneOf" => return one_of(root, rule, value, at),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    fits(root, rule, item, &format!("{at}[{index}]"))?;
                }
                true
            }
            "properties" => {
                for (key, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        fits(root, rule, value, &format!("{at}.{key}"))?;
                    }
                }
                true
            }
            "required" => {
                let keys = rule.as_array().unwrap().iter();
                let missing = keys.filter(|key| value.get(key.as_str().unwrap()).is_none());
                let missing: Vec<_> = missing.collect();
                if !missing.is_empty() {
                    return Err(format!("{at} has no {missing:?}"));
                }
                true
            }
            "additionalProperties" => return no_others(root, schema, value, at),
            "$schema" | "$defs" | "title" | "description" => true,
            unknown => return Err(format!("the schema uses `{unknown}`")),
        };
        if !fine {
            return Err(format!("{at} is not {keyword} {rule}: {value}"));
        }
    }
    Ok(())
}

fn one_of(root: &Value, rules: &Value, value: &Value, at: &str) -> Result<(), String> {
    let mut problems = Vec::new();
    for rule in rules.as_array().unwrap() {
        match fits(root, rule, value, at) {
            Ok(()) => return Ok(()),
            Err(problem) => problems.push(problem),
        }
    }
    Err(format!("none of: {problems:#?}"))
}

/// Checks all properties. Also reads other keywords, because `additionalProperties` may come first.
fn no_others(
    root: &Value,
    schema: &Map<String, Value>,
    value: &Value,
    at: &str,
) -> Result<(), String> {
    let known = schema["properties"].as_object().unwrap();
    for key in value.as_object().into_iter().flat_map(Map::keys) {
        if !known.contains_key(key) {
            return Err(format!("{at}.{key} is not documented"));
        }
    }
    let mut rest = schema.clone();
    rest.remove("additionalProperties");
    fits(root, &Value::Object(rest), value, at)
}

fn is_a(name: &str, value: &Value) -> bool {
    match name {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|b| b"0123456789abcdef".contains(&b));
    match pattern {
        "^[0-9]+$" => !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()),
        "^[1-9][0-9]*$" => matches("^[0-9]+$", text) && !text.starts_with('0'),
        "^([0-9a-f]{2})+$" => !text.is_empty() && text.len().is_multiple_of(2) && hex(text),
        "^[0-9a-f]{16}$" => text.len() == 16 && hex(text),
        _ => false,
    }
}

fn has_format(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.parse::<jiff::Timestamp>().is_ok() && text.ends_with('Z'),
        "date" => text.parse::<jiff::civil::Date>().is_ok(),
        "uuid" => text.parse::<vctl_common::id::SessionId>().is_ok(),
        _ => false,
    }
}
