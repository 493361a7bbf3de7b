//! Deletes, and listings that may prove something or not.

use super::{Bench, Canned, bytes, class};
use crate::s3::{Class, DeleteRequest, ListRequest, ObjectStore as _, PutRequest};

fn delete(key: &str, etag: Option<&str>) -> DeleteRequest {
    DeleteRequest { key: key.into(), if_match: etag.map(str::to_owned) }
}

#[tokio::test]
async fn deletes_hold_their_condition() {
    let bench = Bench::start().await;
    let old = bench.put("a", "one").await.etag;
    let new = bench.put("a", "two").await.etag;
    let store = &bench.store;
    let answer = store.delete(delete("a", Some(&old))).await;
    assert_eq!(class(answer), (Class::Precondition, "PreconditionFailed".into()));
    let answer = store.delete(delete("none", Some(&old))).await;
    assert_eq!(class(answer), (Class::NoSuchKey, "NoSuchKey".into()));
    store.delete(delete("a", Some(&new))).await.unwrap();
    store.delete(delete("a", None)).await.unwrap();
    assert!(bench.read("a").await.is_err());
}

#[tokio::test]
async fn a_batch_tells_of_each_key_in_the_order_it_was_asked() {
    let bench = Bench::start().await;
    let keys = ["z", "a", "<&>\"'", "é/ü +%2F", "//", "changed", "none"];
    let mut requests = Vec::new();
    for key in keys {
        let etag = bench.put(key, "x").await.etag;
        requests.push(delete(key, Some(&etag)));
    }
    bench.put("changed", "y").await;
    bench.store.delete(delete("none", None)).await.unwrap();
    let each = bench.store.delete_many(requests).await.unwrap();
    let each: Vec<_> = each.into_iter().map(|one| one.err().map(|error| error.class)).collect();
    let gone = [None; 5];
    assert_eq!(each[..5], gone);
    assert_eq!(each[5..], [Some(Class::Precondition), Some(Class::NoSuchKey)]);
    for key in &keys[..5] {
        assert!(bench.read(key).await.is_err(), "{key}");
    }
    assert!(bench.read("changed").await.is_ok());
}

#[tokio::test]
async fn a_batch_of_which_the_answer_leaves_a_key_out_is_no_success_for_it() {
    let body = "<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>";
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // The head alone is read of a request, so it must have no body that is waited for.
    let canned = Canned::start(answer.as_bytes()).await;
    let each = canned.store().delete_many(vec![delete("a", None), delete("b", None)]).await;
    let each = each.unwrap();
    assert!(each[0].is_ok());
    assert_eq!(each[1].as_ref().unwrap_err().class, Class::Transient);
}

#[tokio::test]
async fn a_listing_is_exact_only_when_it_says_what_it_lists() {
    let bench = Bench::start().await;
    for key in ["p/ü +/a", "p/ü +/b", "q"] {
        let request = PutRequest { key: key.into(), ..PutRequest::default() };
        bench.store.put(request, bytes("x")).await.unwrap();
    }
    for prefix in ["", "p/ü +/", "none"] {
        let list = ListRequest { prefix: prefix.into(), max_keys: 1, ..ListRequest::default() };
        assert!(bench.store.list(list).await.unwrap().exact, "{prefix:?}");
    }
    let pages = [
        ("<ListBucketResult/>", false),
        ("<ListBucketResult><Prefix>p/</Prefix></ListBucketResult>", false),
        ("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", false),
        (
            "<ListBucketResult><Prefix>other</Prefix><IsTruncated>false</IsTruncated></ListBucketResult>",
            false,
        ),
        (
            "<ListBucketResult><Prefix>p/</Prefix><IsTruncated>false</IsTruncated></ListBucketResult>",
            true,
        ),
    ];
    for (body, exact) in pages {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let canned = Canned::start(answer.as_bytes()).await;
        let list = ListRequest { prefix: "p/".into(), max_keys: 1, ..ListRequest::default() };
        assert_eq!(canned.store().list(list).await.unwrap().exact, exact, "{body}");
    }
}
