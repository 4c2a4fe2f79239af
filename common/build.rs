//! Compiles in the root CA of the file in `VCTL_ROOT_CA_FILE`, if that is set.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "src/root_ca.rs"]
#[allow(unreachable_pub, reason = "the library has it too, where it is public")]
mod root_ca;

const VARIABLE: &str = "VCTL_ROOT_CA_FILE";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/root_ca.rs");
    let code = match env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        None => "None".to_owned(),
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo:rerun-if-changed={}", path.display());
            let why =
                |error: &dyn std::fmt::Display| format!("{VARIABLE}={}: {error}", path.display());
            if !path.is_absolute() {
                // Cargo runs this in the directory of the package, not in the directory of the user.
                return Err(why(&"it has to be an absolute path").into());
            }
            let text = fs::read_to_string(&path).map_err(|error| why(&error))?;
            let certificates = root_ca::certificates(&text).map_err(|error| why(&error))?;
            format!("Some({:?})", certificates.concat())
        }
    };
    let out = env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?;
    fs::write(Path::new(&out).join("built_in_ca.rs"), code)?;
    Ok(())
}
