//! Keys of every odd shape, copied by the agent's worker on a server that is not ours: each arrives under its own name with
//! its own bytes and tags, and a second look finds nothing to do.

use bytes::Bytes;
use futures_util::StreamExt as _;
use s3sync_agent::s3::{
    Attributes, GetRequest, ListRequest, ObjectStore, PutBody, PutRequest, Verify,
};
use s3sync_proto::model::{Key, MAX_KEY_BYTES};
use s3sync_tests::objects::ODD_KEYS;

use super::metadata::{Asked, KIB, Place, bucket, store};

/// Below the prefix; what other tools lose, and the prefix itself.
fn keys() -> Vec<String> {
    let more = [
        "", "/", "//", ".", "..", "/p", "p//", "%", "%2F", "+", "#", "?", "\u{7f}", "\u{85}",
        "\u{202e}",
    ];
    let mut keys: Vec<String> = ODD_KEYS.iter().chain(&more).map(|key| (*key).to_owned()).collect();
    keys.push("k".repeat(MAX_KEY_BYTES - PREFIX.len()));
    keys.sort();
    keys.dedup();
    keys
}

const PREFIX: &str = "odd keys+/";

fn body(n: usize) -> Bytes {
    // Every ninth goes in parts.
    let size = if n.is_multiple_of(9) { 500 * 1024 } else { 100 + n };
    (0..size).map(|at| (at + n * 7).to_le_bytes()[0]).collect()
}

async fn read(store: &dyn ObjectStore, key: &Key) -> Result<Vec<u8>, String> {
    let request = GetRequest { key: key.clone(), ..GetRequest::default() };
    let (_, mut stream) = store.get(request).await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
    }
    Ok(bytes)
}

async fn listed(store: &dyn ObjectStore) -> Vec<Key> {
    let request = ListRequest { prefix: PREFIX.into(), max_keys: 1_000, ..ListRequest::default() };
    let page = store.list(request).await.unwrap();
    page.objects.into_iter().map(|object| object.key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_odd_key_is_copied_under_its_own_name() {
    let server = s3sync_tests::servers::ministack().await;
    bucket(&server, Place::SOURCE).await;
    let source = store(&server, Place::SOURCE);
    let keys = keys();
    let full = |key: &String| Key::from(format!("{PREFIX}{key}").as_str());
    // What goes in parts has none: this server loses tags of copies of parts, which docs/metadata.md shows.
    let tags = |n: usize| -> Vec<(String, String)> {
        let in_parts = n.is_multiple_of(9);
        Some(("n".to_owned(), n.to_string())).filter(|_| !in_parts).into_iter().collect()
    };
    for (n, key) in keys.iter().enumerate() {
        let request = PutRequest {
            key: full(key),
            attributes: Attributes::default(),
            tags: tags(n),
            verify: Verify::Caller,
            ..PutRequest::default()
        };
        let put = source.put(request, PutBody::Bytes(body(n))).await;
        put.unwrap_or_else(|error| panic!("{key:?}: {error}"));
    }
    assert!(u64::try_from(body(0).len()).unwrap() > 400 * KIB, "some go in parts");
    for (name, server_side) in [("through-the-agent", false), ("inside-the-server", true)] {
        bucket(&server, name).await;
        let place = Place { from: &server, to: &server, bucket: name.to_owned() };
        let desk = place.copy(PREFIX, server_side, &Asked::default()).await;
        assert_eq!(*desk.failures.lock().unwrap(), [], "{name}");
        let destination = store(&server, name);
        let mut wanted: Vec<Key> = keys.iter().map(full).collect();
        wanted.sort();
        assert_eq!(listed(&*destination).await, wanted, "{name}");
        for (n, key) in keys.iter().enumerate() {
            let copy = read(&*destination, &full(key)).await;
            assert!(copy.as_deref() == Ok(&*body(n)), "{name}: {key:?} has other bytes");
            let carried = destination.get_tags(&full(key)).await.unwrap();
            assert_eq!(carried, tags(n), "{name}: {key:?}");
        }
        let again = place.copy(PREFIX, server_side, &Asked::default()).await;
        let counters = *again.counters.lock().unwrap();
        assert_eq!((counters.in_step, counters.copied), (keys.len() as u64, 0), "{name}");
    }
}
