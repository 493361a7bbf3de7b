//! No secret leaves an agent: not into the database, a log, or the bytes between agent and server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use s3sync_proto::model::RunState;
use s3sync_tests::objects;
use s3sync_tests::world::{CHINA, SOURCE, Times, WEST_READ};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{ended, start_run, world};

/// Passes bytes on and keeps them.
async fn tap(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((agent, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(server).await else { continue };
            let ((from_agent, to_agent), (from_server, to_server)) =
                (agent.into_split(), server.into_split());
            tokio::spawn(copy(from_agent, to_server, Arc::clone(&kept)));
            tokio::spawn(copy(from_server, to_agent, Arc::clone(&kept)));
        }
    });
    (address, seen)
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    seen: Arc<Mutex<Vec<u8>>>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        seen.lock().unwrap().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_leaves_the_agent() {
    let (mut world, folder) = world(Times::short()).await;
    objects::seed(&world.side("usw2"), SOURCE, "srcfolder/", 100, 8);
    world.apply_job().await.unwrap();
    let server: SocketAddr = world.url().trim_start_matches("http://").parse().unwrap();
    let (address, seen) = tap(server).await;
    // The agent logs as much as it can.
    let file = folder.path().join("cn-1.toml");
    let text = format!(
        "server = \"http://{address}\"\nname = \"cn-1\"\nlabels = {{ region = \"cn-north-1\" }}\n\
         [endpoints.usw2]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n\
         [endpoints.cnn1]\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
        WEST_READ.0, WEST_READ.1, CHINA.0, CHINA.1
    );
    std::fs::write(&file, text).unwrap();
    let arguments =
        ["agent".to_owned(), format!("--config={}", file.display()), "--log=trace".to_owned()];
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_s3sync-demo"));
    let agent =
        s3sync_tests::process::Process::start("cn-1", program, &arguments, folder.path()).unwrap();
    let run = start_run(&world).await;
    assert_eq!(ended(&world, &run).await.state, RunState::Succeeded, "{}", world.logs());
    agent.terminate(std::time::Duration::from_secs(60)).await.unwrap();
    world.stop_server().await.unwrap();

    let wire = seen.lock().unwrap().clone();
    assert!(contains(&wire, "destbucket-cnn1"), "the tap sees what is said");
    let mut places = vec![("the wire".to_owned(), wire)];
    for entry in std::fs::read_dir(folder.path().join("data"))
        .unwrap()
        .chain(std::fs::read_dir(folder.path()).unwrap())
    {
        let path = entry.unwrap().path();
        if path.is_file() && path.extension().is_none_or(|extension| extension != "toml") {
            places.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    assert!(places.iter().any(|(name, _)| name.ends_with("s3sync.db")), "the database is searched");
    assert!(
        places.iter().any(|(name, bytes)| name.ends_with("cn-1.log") && !bytes.is_empty()),
        "logs are searched"
    );
    for (place, bytes) in &places {
        for secret in [WEST_READ.1, CHINA.1] {
            assert!(!contains(bytes, secret), "{place} holds a secret");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_at_the_end_of_every_test_would_find_a_secret() {
    let (mut world, folder) = world(Times::short()).await;
    // As a program would that prints its configuration: in the middle of a line, far into a file.
    let line = format!("{}secret_access_key={}, and more\n", "x".repeat(100_000), CHINA.1);
    for place in ["server.log", "data/s3sync.db-copy", "report.json"] {
        let path = folder.path().join(place);
        let before = std::fs::read(&path).unwrap_or_default();
        std::fs::write(&path, [&before[..], line.as_bytes()].concat()).unwrap();
        let secrets = [WEST_READ.1.to_owned(), CHINA.1.to_owned()];
        let found = s3sync_tests::secrets::found(folder.path(), &secrets).unwrap();
        assert_eq!(found, [path.display().to_string()]);
        std::fs::write(&path, before).unwrap();
    }
    world.stop_server().await.unwrap();
    std::fs::write(folder.path().join("server.log"), line).unwrap();
    let dropped = tokio::spawn(async move { drop(world) });
    let told = dropped.await.unwrap_err().into_panic();
    let told = told.downcast_ref::<String>().unwrap();
    assert!(told.contains("server.log") && !told.contains(CHINA.1), "{told}");
}
