//! The tasks to build, check, test and show vctl. CI runs the same tasks as people do.
mod bench;
mod boot;
mod check;
mod circles;
mod command;
mod demo;
mod deny;
mod dist;
mod ebpf;
mod failures;
mod image;
mod kernels;
mod landed_migrations;
mod layers;
// The reports of the bench describe the machine with the same fields.
#[path = "../../tests/src/bin/bench/machine.rs"]
mod machine;
mod macos;
mod mmdebstrap;
mod named_specs;
mod named_things;
mod packages;
mod page_commands;
mod prose;
mod recorded;
mod release;
mod rust_code;
mod sentences;
mod sha256;
mod specs;
mod stack;
mod subjects;
mod test;
mod test_names;
mod third_party;
mod tidy;
mod tool_cache;
mod trivy;
mod versions;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, check, test and show vctl")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Log in two users over a real sshd and show what each of them did
    Demo(demo::Options),
    /// Run OpenBao, Postgres and an sshd in the background, to try vctl with
    Stack(stack::Options),
    /// Run all tests, including those on a real sshd and this kernel
    Test(test::Options),
    /// Run specs on Postgres 14 to 18, and on HashiCorp Vault if it is on PATH
    Versions(versions::Options),
    /// Run specs on other kernels, in guests of QEMU
    Kernels(kernels::Options),
    /// Install the package on a booted Debian with systemd, in a guest of QEMU
    Boot(boot::Options),
    Image(image::Options),
    /// Measure what the project promises, as root and on release builds
    Bench(bench::Options),
    /// Build the probe, or prove that the committed one matches its source
    #[command(subcommand)]
    Ebpf(ebpf::Task),
    /// Write packages for Debian, RPM systems and any Linux
    Dist(dist::Options),
    /// Build the files of a release, and check the release workflow
    Release(release::Options),
    /// Check formatting, lints and house rules
    Check(check::Options),
    /// Check licences, sources and advisories of all dependencies (cargo-deny)
    Deny(deny::Options),
    /// Scan for vulnerable dependencies, secrets and unsafe configuration (Trivy)
    Trivy(trivy::Options),
    /// Check the house rules that the compiler does not check
    Tidy(tidy::Options),
    /// Check that each carried crate is the published one with our patches
    ThirdParty(third_party::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            command::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::set_current_dir(manifest.parent().unwrap_or(manifest))?;
    match task {
        Task::Demo(options) => demo::run(&options),
        Task::Stack(options) => stack::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Versions(options) => versions::run(&options),
        Task::Kernels(options) => kernels::run(&options),
        Task::Boot(options) => boot::run(&options),
        Task::Image(options) => image::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Ebpf(task) => ebpf::run(&task),
        Task::Dist(options) => dist::run(&options),
        Task::Release(options) => release::run(&options),
        Task::Check(options) => check::run(&options),
        Task::Deny(options) => deny::run(&options),
        Task::Trivy(options) => trivy::run(&options),
        Task::Tidy(options) => tidy::run(&options),
        Task::ThirdParty(options) => third_party::run(&options),
    }
}
