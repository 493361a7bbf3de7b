//! `queue`.

use std::path::Path;

use s3sync_proto::client::ApiClient;
use s3sync_proto::model::{CheckState, QueueCheck};

use super::get;
use crate::Terminal;
use crate::args::{Kind, Output, QueueCommand};
use crate::exit::{Exit, Failure};
use crate::render;

pub(crate) async fn run(
    client: &mut ApiClient,
    command: QueueCommand,
    output: Output,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, Failure> {
    match command {
        QueueCommand::List => get::run(client, Kind::Queue, None, output, terminal).await,
        QueueCommand::Get { name } => {
            get::run(client, Kind::Queue, Some(&name), output, terminal).await
        }
        QueueCommand::Check { name, folder } => {
            let check = client.check_queue(&name).await?;
            terminal.out.write_all(render::queue_check(&check, output).as_bytes())?;
            if let Some(folder) = folder {
                save(&check, &folder)?;
            }
            let failed = check.places.iter().flat_map(|place| &place.checks);
            let failed = failed.filter(|check| check.state == CheckState::Failed).count();
            Ok(if failed == 0 { Exit::Done } else { Exit::Precondition })
        }
    }
}

/// Writes the documents for the commands.
fn save(check: &QueueCheck, folder: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(Exit::Error, format!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for (name, content) in check.steps.iter().flat_map(|step| &step.files) {
        // The server names them, but where they go is for the user to say.
        let Some(name) = Path::new(name).file_name() else { continue };
        let path = folder.join(name);
        std::fs::write(&path, format!("{content}\n")).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
