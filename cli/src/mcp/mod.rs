//! `vctl mcp`: the inventory, the records and SSH as tools for AI agents, over the Model Context Protocol.
//!
//! [`transport`] reads and writes the lines of standard input and output; rmcp has the protocol; [`server`] has the list
//! of tools and calls them; [`open_context`] holds the connections to Vault and Postgres. Each tool has a file.

mod transport;
mod server;
mod hosts;
mod identity;
mod accesses;
mod sessions;
mod exec;
mod output;
mod answer;
mod untrusted;
mod open_context;

use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use tokio::sync::watch;
use tokio::task::LocalSet;

use self::server::McpServer;
use self::transport::LineTransport;
use crate::centre::context;
use crate::config::Loaded;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// Serves one client, until it closes standard input or a signal arrives.
pub(crate) fn serve(loaded: Loaded, read_only: bool) -> Result<(), Stop> {
    let local = LocalSet::new();
    let serving = local.run_until(async {
        // Becomes true at the end of the input: running commands must not outlive their client.
        let (is_over, over) = watch::channel(false);
        let transport = LineTransport::new(is_over.clone());
        let output = transport.output();
        let server = McpServer::new(loaded, read_only, over);
        let contexts = server.contexts();
        let done = run(server, transport, &is_over).await;
        output.finish().await;
        contexts.close().await;
        done
    });
    context::run_to_the_end(serving)
}

async fn run(
    server: McpServer,
    transport: LineTransport,
    is_over: &watch::Sender<bool>,
) -> Result<(), Stop> {
    let starting = server.serve(transport);
    let running = tokio::select! {
        started = starting => match started {
            Ok(running) => running,
            // A client that leaves before `initialize` is not a failure.
            Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => {
                let message = "the MCP client did not begin with `initialize`";
                return Err(CliError::new(Exit::Failure, message).caused_by(&error).into());
            }
        },
        // The usual end of a server.
        _ = context::stop_signal() => return Ok(()),
    };
    let cancel = running.cancellation_token();
    let waiting = running.waiting();
    tokio::pin!(waiting);
    tokio::select! {
        _ = &mut waiting => {}
        _ = context::stop_signal() => {
            is_over.send_replace(true);
            cancel.cancel();
            let _ = waiting.await;
        }
    }
    Ok(())
}
