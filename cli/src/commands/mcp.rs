//! `vctl mcp`: tools for AI agents on standard input and output.

use crate::config::globals::Globals;
use crate::error::Stop;
use crate::mcp;
use crate::ui::help::TEMPLATE;

/// Serve the inventory, the records and SSH to an AI agent
///
/// Speaks the Model Context Protocol on standard input and output. The AI agent starts this
/// server; register the server with the agent once. The server uses your login, never prompts, and records each
/// command under your name. If the login expires, run `vctl login` in a terminal; the server needs no restart.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  claude mcp add vctl -- vctl mcp              Register it in Claude Code
  claude mcp add vctl -- vctl mcp --read-only  Without commands on hosts")]
pub(crate) struct McpArgs {
    /// Offer no tool that runs commands on hosts
    #[arg(long)]
    read_only: bool,
}

pub(crate) fn run(args: &McpArgs, globals: &Globals) -> Result<(), Stop> {
    mcp::serve(globals.load()?, args.read_only)
}
