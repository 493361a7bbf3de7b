//! `audit`: who asked for which change.

use s3sync_proto::client::ApiClient;

use super::get::many;
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
    let (mut entries, mut token) = (Vec::new(), String::new());
    while entries.len() < limit as usize {
        let page = client.list_audit_entries(&resource, PAGE_SIZE.min(limit), &token).await?;
        entries.extend(page.items);
        match page.next {
            Some(next) => token = next,
            None => break,
        }
    }
    entries.truncate(limit as usize);
    many(&entries, output, terminal)
}
