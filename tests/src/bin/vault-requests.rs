//! The requests that `deploy/vault/setup.sh` makes with the Vault CLI, without the CLI.
//!
//! The script starts the CLI about a hundred times, and each start takes 0.2 s of a CPU. Most specs need a configured
//! server and not the CLI; those of the script and of the README use the CLI itself.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the script reads the output, as that of the CLI"
)]

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};
use vctl_tests::centre::{Client, Secret};

/// The CLI's own status of a failed request.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            if !text.is_empty() {
                println!("{text}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run() -> Result<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (flags, words): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .map(String::as_str)
        .partition(|word| word.len() > 1 && word.starts_with('-'));
    let flag = |name: &str| {
        let prefix = format!("-{name}=");
        flags.iter().find_map(|flag| flag.strip_prefix(&*prefix))
    };
    let is_known = |flag: &&str| {
        let name = flag.split_once('=').map_or(*flag, |(name, _)| name);
        ["-format", "-field", "-path", "-f"].contains(&name) || name.starts_with("-audit-non-hmac-")
    };
    if let Some(flag) = flags.iter().find(|flag| !is_known(flag)) {
        bail!("setup.sh did not use `{flag}` before");
    }
    let client = client()?;
    let get = |path: &str| client.get(path);
    let text = match *words {
        ["write", path] => done(&client, path, &json!({}))?,
        ["write", path, "-"] => done(&client, path, &serde_json::from_str(&input()?)?)?,
        ["delete", path] => client.delete(path).map(|_| String::new())?,
        ["read", path] => match flag("field") {
            Some(field) => plain(&get(path)?["data"][field])?,
            None => get(path)?.to_string(),
        },
        ["list", path] => {
            let reply = client.call("LIST", path, None)?;
            ensure!(reply.status == 200, "`{path}` has no entries");
            // One name in a line, as the CLI prints them.
            serde_json::to_string_pretty(&reply.body["data"]["keys"])?
        }
        ["policy", "read", name] => plain(&get(&acl(name))?["data"]["policy"])?,
        ["policy", "write", name, "-"] => done(&client, &acl(name), &json!({"policy": input()?}))?,
        ["secrets", "list"] => get("sys/mounts")?["data"].to_string(),
        ["auth", "list"] => get("sys/auth")?["data"].to_string(),
        ["secrets", "enable", kind] => {
            let path = flag("path").context("`-path` is missing")?;
            done(
                &client,
                &format!("sys/mounts/{path}"),
                &json!({"type": kind}),
            )?
        }
        ["auth", "enable", kind] => {
            let path = flag("path").context("`-path` is missing")?;
            done(&client, &format!("sys/auth/{path}"), &json!({"type": kind}))?
        }
        ["secrets", "tune", mount] => {
            done(&client, &format!("sys/mounts/{mount}/tune"), &tuned(&flags))?
        }
        _ => bail!("setup.sh did not use `{}` before", arguments.join(" ")),
    };
    Ok(text)
}

/// Returns the lists of the flags, each of which may occur several times.
fn tuned(flags: &[&str]) -> Value {
    let mut lists: Map<String, Value> = Map::new();
    for (name, value) in flags.iter().filter_map(|flag| flag.split_once('=')) {
        let name = name.trim_start_matches('-').replace('-', "_");
        let list = lists.entry(name).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!(value));
        }
    }
    Value::Object(lists)
}

fn acl(name: &str) -> String {
    format!("sys/policies/acl/{name}")
}

fn done(client: &Client, path: &str, body: &Value) -> Result<String> {
    client.post(path, body).map(|_| String::new())
}

fn plain(value: &Value) -> Result<String> {
    Ok(value.as_str().context("there is no such field")?.to_owned())
}

fn input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Makes the client from the variables that the CLI reads.
fn client() -> Result<Client> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let (address, ca) = (variable("VAULT_ADDR")?, variable("VAULT_CACERT")?);
    let (_, port) = address
        .rsplit_once(':')
        .context("the address has no port")?;
    let token = Secret::new(variable("VAULT_TOKEN")?);
    Client::new(port.parse()?, "localhost", Path::new(&ca), Some(token))
}
