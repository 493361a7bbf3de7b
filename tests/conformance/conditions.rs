//! Conditional writes and deletes.

use aws_sdk_s3::primitives::ByteStream;
use futures_util::future::join_all;

use super::{Bucket, Outcome, cases, code, ensure, text};

cases![
    a_put_only_if_nothing_is_there,
    a_put_only_if_it_is_still_that_object,
    a_conditional_put_needs_something_there,
    of_eight_at_once_one_wins,
    a_delete_only_if_it_is_still_that_object,
];

async fn a_put_only_if_nothing_is_there(bucket: &Bucket) -> Outcome {
    let put = || bucket.client.put_object().bucket(&bucket.name).key("k").if_none_match("*");
    put().send().await.map_err(text)?;
    let seen = code(put().body(ByteStream::from_static(b"other")).send().await);
    ensure!(seen == "PreconditionFailed", "{seen}");
    ensure!(bucket.body("k").await?.is_empty(), "it was overwritten");
    Ok(())
}

async fn a_put_only_if_it_is_still_that_object(bucket: &Bucket) -> Outcome {
    let first = bucket.put("k", "one").await?;
    let put = |etag: &str| bucket.client.put_object().bucket(&bucket.name).key("k").if_match(etag);
    let second = put(&first).body(ByteStream::from_static(b"two")).send().await.map_err(text)?;
    let seen = code(put(&first).body(ByteStream::from_static(b"three")).send().await);
    ensure!(seen == "PreconditionFailed", "{seen}");
    ensure!(bucket.body("k").await? == b"two", "it was overwritten; {:?}", second.e_tag());
    Ok(())
}

async fn a_conditional_put_needs_something_there(bucket: &Bucket) -> Outcome {
    let put = bucket
        .client
        .put_object()
        .bucket(&bucket.name)
        .key("none")
        .if_match("\"0123456789abcdef0123456789abcdef\"");
    let seen = code(put.send().await);
    ensure!(seen == "NoSuchKey", "{seen}");
    Ok(())
}

async fn of_eight_at_once_one_wins(bucket: &Bucket) -> Outcome {
    let put = |n: u8| {
        let body = ByteStream::from(vec![n; 100]);
        bucket
            .client
            .put_object()
            .bucket(&bucket.name)
            .key("race")
            .if_none_match("*")
            .body(body)
            .send()
    };
    let won = join_all((0..8).map(put)).await.into_iter().filter(Result::is_ok).count();
    ensure!(won == 1, "{won} won");
    Ok(())
}

async fn a_delete_only_if_it_is_still_that_object(bucket: &Bucket) -> Outcome {
    let first = bucket.put("k", "one").await?;
    let second = bucket.put("k", "two").await?;
    let delete =
        |etag: &str| bucket.client.delete_object().bucket(&bucket.name).key("k").if_match(etag);
    let seen = code(delete(&first).send().await);
    ensure!(seen == "PreconditionFailed", "{seen}");
    delete(&second).send().await.map_err(text)?;
    let seen = code(bucket.client.get_object().bucket(&bucket.name).key("k").send().await);
    ensure!(seen == "NoSuchKey", "{seen}");
    Ok(())
}
