//! `audit`: who asked for which change.

use s3sync_proto::client::ApiClient;

use super::get::{first, many};
use crate::Terminal;
use crate::args::{AuditCommand, Output};
use crate::exit::{Exit, Failure};

/// Asked for at once.
const PAGE_SIZE: u32 = 500;

pub(crate) async fn run(
    client: &mut ApiClient,
    command: AuditCommand,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    let AuditCommand::List { resource, limit } = command;
    let page = async |size, token: String| client.list_audit_entries(&resource, size, &token).await;
    let (entries, _) = first(limit, PAGE_SIZE, page).await?;
    many(&entries, output, terminal)
}
