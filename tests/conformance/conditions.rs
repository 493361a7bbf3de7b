//! Conditional writes and deletes.

use aws_sdk_s3::primitives::ByteStream;
use futures_util::future::join_all;

use super::{Bucket, Outcome, cases, code, ensure, text};

cases![
    Bucket;
    a_put_only_if_nothing_is_there,
    a_put_only_if_it_is_still_that_object,
    a_conditional_put_needs_something_there,
    of_eight_at_once_one_wins,
    a_delete_only_if_it_is_still_that_object,
    a_conditional_delete_needs_something_there,
    a_batch_deletes_only_what_is_still_as_it_was,
    a_copy_only_if_nothing_is_there,
    a_completion_only_if_it_is_still_that_object,
    a_refused_completion_leaves_the_upload_open,
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

async fn a_conditional_delete_needs_something_there(bucket: &Bucket) -> Outcome {
    let delete = bucket.client.delete_object().bucket(&bucket.name).key("none");
    let result = delete.if_match("\"0123456789abcdef0123456789abcdef\"").send().await;
    let status =
        result.err().and_then(|error| error.raw_response().map(|raw| raw.status().as_u16()));
    ensure!(status == Some(404), "{status:?}");
    Ok(())
}

async fn a_batch_deletes_only_what_is_still_as_it_was(bucket: &Bucket) -> Outcome {
    use aws_sdk_s3::types::{Delete, ObjectIdentifier};
    let same = bucket.put("same", "x").await?;
    bucket.put("changed", "x").await?;
    bucket.put("changed", "y").await?;
    let id = |key: &str| ObjectIdentifier::builder().key(key).e_tag(&same).build().map_err(text);
    let ids = vec![id("same")?, id("changed")?];
    let delete = Delete::builder().set_objects(Some(ids)).build().map_err(text)?;
    let delete = bucket.client.delete_objects().bucket(&bucket.name).delete(delete);
    let answer = delete.send().await.map_err(text)?;
    let failed: Vec<_> = answer.errors().iter().map(|error| (error.key(), error.code())).collect();
    ensure!(failed == [(Some("changed"), Some("PreconditionFailed"))], "{failed:?}");
    ensure!(bucket.body("changed").await? == b"y", "it was deleted");
    let seen = code(bucket.client.get_object().bucket(&bucket.name).key("same").send().await);
    ensure!(seen == "NoSuchKey", "{seen}");
    Ok(())
}

async fn a_copy_only_if_nothing_is_there(bucket: &Bucket) -> Outcome {
    bucket.put("from", "new").await?;
    let source = format!("{}/from", bucket.name);
    let copy = || {
        let copy = bucket.client.copy_object().bucket(&bucket.name).key("to").copy_source(&source);
        copy.if_none_match("*").send()
    };
    copy().await.map_err(text)?;
    bucket.put("to", "was first").await?;
    let seen = code(copy().await);
    ensure!(seen == "PreconditionFailed", "{seen}");
    ensure!(bucket.body("to").await? == b"was first", "it was overwritten");
    Ok(())
}

async fn a_completion_only_if_it_is_still_that_object(bucket: &Bucket) -> Outcome {
    let old = bucket.put("k", "old").await?;
    bucket.put("k", "changed").await?;
    let (id, parts) = super::multipart::begun(bucket, "k").await?;
    let complete =
        bucket.client.complete_multipart_upload().bucket(&bucket.name).key("k").upload_id(id);
    let seen = code(complete.if_match(old).multipart_upload(parts).send().await);
    ensure!(seen == "PreconditionFailed", "{seen}");
    ensure!(bucket.body("k").await? == b"changed", "it was overwritten");
    Ok(())
}

async fn a_refused_completion_leaves_the_upload_open(bucket: &Bucket) -> Outcome {
    bucket.put("k", "was first").await?;
    let (id, parts) = super::multipart::begun(bucket, "k").await?;
    let complete = || {
        let complete =
            bucket.client.complete_multipart_upload().bucket(&bucket.name).key("k").upload_id(&id);
        complete.multipart_upload(parts.clone())
    };
    let seen = code(complete().if_none_match("*").send().await);
    ensure!(seen == "PreconditionFailed", "{seen}");
    complete().send().await.map_err(text)?;
    ensure!(bucket.body("k").await? == b"x", "other bytes");
    Ok(())
}
