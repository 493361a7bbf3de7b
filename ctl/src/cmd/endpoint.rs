//! `endpoint`.

use s3sync_proto::client::ApiClient;

use super::get;
use crate::Terminal;
use crate::args::{EndpointCommand, Kind, Output};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(
    client: &mut ApiClient,
    command: EndpointCommand,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    match command {
        EndpointCommand::List => get::run(client, Kind::Endpoint, None, output, terminal).await,
        EndpointCommand::Get { name } => {
            get::run(client, Kind::Endpoint, Some(&name), output, terminal).await
        }
        EndpointCommand::Probe { name, bucket } => {
            let probe = client.probe_endpoint(&name, bucket.as_deref()).await?;
            let endpoint = client.get_endpoint(&name).await?;
            terminal.out.write_all(render::probe(&probe, &endpoint, output).as_bytes())?;
            let answered = probe.agents.iter().any(|agent| agent.found.is_ok());
            Ok(if answered { Exit::Done } else { Exit::Precondition })
        }
    }
}
