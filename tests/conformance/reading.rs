//! Reading: ranges, conditions, errors, and what an object carries.

use std::collections::BTreeMap;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{MetadataDirective, StorageClass};

use super::{Bucket, Outcome, cases, code, ensure, text};

cases![
    Bucket;
    ranges_are_read,
    a_read_is_pinned_by_its_etag,
    an_unchanged_object_is_not_read_again,
    what_is_not_there_has_its_code,
    headers_and_metadata_are_kept,
    tags_are_kept_and_counted,
    the_storage_class_is_kept,
    a_copy_keeps_what_the_object_carries,
    a_copy_replaces_metadata_when_asked,
    a_copy_is_pinned_by_its_source,
    many_are_deleted_at_once,
    a_wrong_secret_is_refused,
    a_read_asks_for_what_changed_since,
    tags_are_replaced_and_removed,
    a_copy_replaces_tags_when_asked,
    a_copy_onto_itself_is_refused,
    a_bucket_is_looked_at,
    a_redirect_is_kept,
    encryption_is_told,
];

async fn ranges_are_read(bucket: &Bucket) -> Outcome {
    bucket.put("k", "0123456789").await?;
    for (range, expected) in [("bytes=2-4", "234"), ("bytes=7-", "789"), ("bytes=-2", "89")] {
        let request = bucket.client.get_object().bucket(&bucket.name).key("k").range(range);
        let body = request.send().await.map_err(text)?.body.collect().await.map_err(text)?.to_vec();
        ensure!(body == expected.as_bytes(), "{range}: {body:?}");
    }
    let seen = code(
        bucket.client.get_object().bucket(&bucket.name).key("k").range("bytes=10-").send().await,
    );
    ensure!(seen == "InvalidRange", "{seen}");
    Ok(())
}

async fn a_read_is_pinned_by_its_etag(bucket: &Bucket) -> Outcome {
    let etag = bucket.put("k", "one").await?;
    let get = || bucket.client.get_object().bucket(&bucket.name).key("k");
    get().if_match(&etag).send().await.map_err(text)?;
    bucket.put("k", "two").await?;
    let seen = code(get().if_match(&etag).send().await);
    ensure!(seen == "PreconditionFailed", "{seen}");
    let seen = code(get().if_match(&etag).range("bytes=0-0").send().await);
    ensure!(seen == "PreconditionFailed", "with a range: {seen}");
    Ok(())
}

async fn an_unchanged_object_is_not_read_again(bucket: &Bucket) -> Outcome {
    let etag = bucket.put("k", "one").await?;
    let result =
        bucket.client.get_object().bucket(&bucket.name).key("k").if_none_match(&etag).send().await;
    let status =
        result.err().and_then(|error| error.raw_response().map(|raw| raw.status().as_u16()));
    ensure!(status == Some(304), "{status:?}");
    Ok(())
}

async fn what_is_not_there_has_its_code(bucket: &Bucket) -> Outcome {
    let seen = code(bucket.client.get_object().bucket(&bucket.name).key("none").send().await);
    ensure!(seen == "NoSuchKey", "{seen}");
    let seen = code(bucket.client.get_object().bucket("no-such-bucket-here").key("k").send().await);
    ensure!(seen == "NoSuchBucket", "{seen}");
    let result = bucket.client.head_object().bucket(&bucket.name).key("none").send().await;
    let status =
        result.err().and_then(|error| error.raw_response().map(|raw| raw.status().as_u16()));
    ensure!(status == Some(404), "{status:?}");
    Ok(())
}

async fn headers_and_metadata_are_kept(bucket: &Bucket) -> Outcome {
    let put = bucket
        .client
        .put_object()
        .bucket(&bucket.name)
        .key("k")
        .body(ByteStream::from_static(b"x"));
    let put = put.content_type("image/jpeg").content_encoding("gzip").content_language("de");
    let put =
        put.content_disposition("attachment").cache_control("max-age=5").metadata("Owner", "films");
    put.send().await.map_err(text)?;
    let head =
        bucket.client.head_object().bucket(&bucket.name).key("k").send().await.map_err(text)?;
    let seen = [
        head.content_type(),
        head.content_encoding(),
        head.content_language(),
        head.content_disposition(),
    ];
    ensure!(seen == [Some("image/jpeg"), Some("gzip"), Some("de"), Some("attachment")], "{seen:?}");
    ensure!(head.cache_control() == Some("max-age=5"), "{:?}", head.cache_control());
    let owner = head.metadata().and_then(|metadata| metadata.get("owner"));
    ensure!(owner.is_some_and(|owner| owner == "films"), "{:?}", head.metadata());
    Ok(())
}

async fn tags_are_kept_and_counted(bucket: &Bucket) -> Outcome {
    let put =
        bucket.client.put_object().bucket(&bucket.name).key("k").tagging("team=a%20b&class=raw");
    put.send().await.map_err(text)?;
    let answer = bucket
        .client
        .get_object_tagging()
        .bucket(&bucket.name)
        .key("k")
        .send()
        .await
        .map_err(text)?;
    let tags: BTreeMap<_, _> =
        answer.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
    ensure!(tags == BTreeMap::from([("class", "raw"), ("team", "a b")]), "{tags:?}");
    let get =
        bucket.client.get_object().bucket(&bucket.name).key("k").send().await.map_err(text)?;
    ensure!(get.tag_count() == Some(2), "{:?}", get.tag_count());
    Ok(())
}

async fn the_storage_class_is_kept(bucket: &Bucket) -> Outcome {
    let put = bucket
        .client
        .put_object()
        .bucket(&bucket.name)
        .key("k")
        .storage_class(StorageClass::StandardIa);
    put.send().await.map_err(text)?;
    let head =
        bucket.client.head_object().bucket(&bucket.name).key("k").send().await.map_err(text)?;
    ensure!(head.storage_class() == Some(&StorageClass::StandardIa), "{:?}", head.storage_class());
    Ok(())
}

async fn carrier(bucket: &Bucket) -> Result<String, String> {
    let put = bucket
        .client
        .put_object()
        .bucket(&bucket.name)
        .key("from here")
        .body(ByteStream::from_static(b"x"));
    let answer =
        put.content_type("image/jpeg").metadata("owner", "films").tagging("a=b").send().await;
    Ok(answer.map_err(text)?.e_tag.unwrap_or_default())
}

async fn a_copy_keeps_what_the_object_carries(bucket: &Bucket) -> Outcome {
    carrier(bucket).await?;
    let source = format!("{}/from%20here", bucket.name);
    let copy = bucket.client.copy_object().bucket(&bucket.name).key("to").copy_source(source);
    copy.send().await.map_err(text)?;
    let head =
        bucket.client.head_object().bucket(&bucket.name).key("to").send().await.map_err(text)?;
    ensure!(head.content_type() == Some("image/jpeg"), "{:?}", head.content_type());
    let owner = head.metadata().and_then(|metadata| metadata.get("owner"));
    ensure!(owner.is_some_and(|owner| owner == "films"), "{:?}", head.metadata());
    let tags = bucket
        .client
        .get_object_tagging()
        .bucket(&bucket.name)
        .key("to")
        .send()
        .await
        .map_err(text)?;
    ensure!(tags.tag_set().len() == 1, "{tags:?}");
    Ok(())
}

async fn a_copy_replaces_metadata_when_asked(bucket: &Bucket) -> Outcome {
    carrier(bucket).await?;
    let source = format!("{}/from%20here", bucket.name);
    let copy = bucket.client.copy_object().bucket(&bucket.name).key("to").copy_source(source);
    let copy = copy
        .metadata_directive(MetadataDirective::Replace)
        .metadata("other", "x")
        .content_type("text/plain");
    copy.send().await.map_err(text)?;
    let head =
        bucket.client.head_object().bucket(&bucket.name).key("to").send().await.map_err(text)?;
    let names: Vec<_> =
        head.metadata().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    ensure!(
        names == ["other"] && head.content_type() == Some("text/plain"),
        "{names:?} {:?}",
        head.content_type()
    );
    Ok(())
}

async fn a_copy_is_pinned_by_its_source(bucket: &Bucket) -> Outcome {
    let etag = carrier(bucket).await?;
    let source = format!("{}/from%20here", bucket.name);
    let copy = || bucket.client.copy_object().bucket(&bucket.name).key("to").copy_source(&source);
    copy().copy_source_if_match(&etag).send().await.map_err(text)?;
    bucket.put("from here", "changed").await?;
    let seen = code(copy().copy_source_if_match(&etag).send().await);
    ensure!(seen == "PreconditionFailed", "{seen}");
    Ok(())
}

async fn many_are_deleted_at_once(bucket: &Bucket) -> Outcome {
    use aws_sdk_s3::types::{Delete, ObjectIdentifier};
    for key in ["a b", "c", "d"] {
        bucket.put(key, "x").await?;
    }
    let id = |key: &str| ObjectIdentifier::builder().key(key).build();
    let ids: Result<Vec<_>, _> = ["a b", "c", "never there"].map(id).into_iter().collect();
    let delete = Delete::builder().set_objects(Some(ids.map_err(text)?)).build().map_err(text)?;
    let answer = bucket
        .client
        .delete_objects()
        .bucket(&bucket.name)
        .delete(delete)
        .send()
        .await
        .map_err(text)?;
    ensure!(answer.errors().is_empty(), "{:?}", answer.errors());
    let page = bucket.client.list_objects_v2().bucket(&bucket.name).send().await.map_err(text)?;
    let left: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    ensure!(left == ["d"], "{left:?}");
    Ok(())
}

async fn a_wrong_secret_is_refused(bucket: &Bucket) -> Outcome {
    let seen = code(bucket.stranger.put_object().bucket(&bucket.name).key("k").send().await);
    ensure!(seen == "SignatureDoesNotMatch", "{seen}");
    Ok(())
}

async fn a_read_asks_for_what_changed_since(bucket: &Bucket) -> Outcome {
    use aws_sdk_s3::primitives::DateTime;
    bucket.put("k", "x").await?;
    let head =
        bucket.client.head_object().bucket(&bucket.name).key("k").send().await.map_err(text)?;
    let at = *head.last_modified().ok_or("no time")?;
    let get = || bucket.client.get_object().bucket(&bucket.name).key("k");
    get().if_unmodified_since(at).send().await.map_err(text)?;
    let before = DateTime::from_secs(at.secs() - 60);
    get().if_modified_since(before).send().await.map_err(text)?;
    let seen = code(get().if_unmodified_since(before).send().await);
    ensure!(seen == "PreconditionFailed", "{seen}");
    let result = get().if_modified_since(at).send().await;
    let status =
        result.err().and_then(|error| error.raw_response().map(|raw| raw.status().as_u16()));
    ensure!(status == Some(304), "{status:?}");
    Ok(())
}

async fn tags_of(bucket: &Bucket, key: &str) -> Result<Vec<(String, String)>, String> {
    let get = bucket.client.get_object_tagging().bucket(&bucket.name).key(key);
    let tags = get.send().await.map_err(text)?.tag_set;
    Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

async fn tags_are_replaced_and_removed(bucket: &Bucket) -> Outcome {
    use aws_sdk_s3::types::{Tag, Tagging};
    let put = bucket.client.put_object().bucket(&bucket.name).key("k").tagging("a=b&c=d");
    put.send().await.map_err(text)?;
    let tag = Tag::builder().key("e + f").value("g:/@=ü").build().map_err(text)?;
    let tagging = Tagging::builder().tag_set(tag).build().map_err(text)?;
    let put = bucket.client.put_object_tagging().bucket(&bucket.name).key("k").tagging(tagging);
    put.send().await.map_err(text)?;
    let tags = tags_of(bucket, "k").await?;
    ensure!(tags == [("e + f".to_owned(), "g:/@=ü".to_owned())], "{tags:?}");
    let delete = bucket.client.delete_object_tagging().bucket(&bucket.name).key("k");
    delete.send().await.map_err(text)?;
    let tags = tags_of(bucket, "k").await?;
    ensure!(tags.is_empty(), "{tags:?}");
    Ok(())
}

async fn a_copy_replaces_tags_when_asked(bucket: &Bucket) -> Outcome {
    use aws_sdk_s3::types::TaggingDirective;
    carrier(bucket).await?;
    let source = format!("{}/from%20here", bucket.name);
    let copy = bucket.client.copy_object().bucket(&bucket.name).key("to").copy_source(source);
    let copy = copy.tagging_directive(TaggingDirective::Replace).tagging("c=d");
    copy.send().await.map_err(text)?;
    let tags = tags_of(bucket, "to").await?;
    ensure!(tags == [("c".to_owned(), "d".to_owned())], "{tags:?}");
    Ok(())
}

async fn a_copy_onto_itself_is_refused(bucket: &Bucket) -> Outcome {
    bucket.put("k", "x").await?;
    let source = format!("{}/k", bucket.name);
    let copy = || bucket.client.copy_object().bucket(&bucket.name).key("k").copy_source(&source);
    let seen = code(copy().send().await);
    ensure!(seen == "InvalidRequest", "{seen}");
    let copy = copy().metadata_directive(MetadataDirective::Replace).metadata("a", "b");
    copy.send().await.map_err(text)?;
    Ok(())
}

async fn a_bucket_is_looked_at(bucket: &Bucket) -> Outcome {
    bucket.client.head_bucket().bucket(&bucket.name).send().await.map_err(text)?;
    let result = bucket.client.head_bucket().bucket("no-such-bucket-here").send().await;
    let status =
        result.err().and_then(|error| error.raw_response().map(|raw| raw.status().as_u16()));
    ensure!(status == Some(404), "{status:?}");
    let buckets = bucket.client.list_buckets().send().await.map_err(text)?;
    let names: Vec<_> = buckets.buckets().iter().filter_map(|one| one.name()).collect();
    ensure!(names.contains(&bucket.name.as_str()), "{names:?}");
    Ok(())
}

async fn a_redirect_is_kept(bucket: &Bucket) -> Outcome {
    let put = bucket.client.put_object().bucket(&bucket.name).key("k");
    put.website_redirect_location("/other").send().await.map_err(text)?;
    let head =
        bucket.client.head_object().bucket(&bucket.name).key("k").send().await.map_err(text)?;
    let seen = head.website_redirect_location();
    ensure!(seen == Some("/other"), "{seen:?}");
    Ok(())
}

async fn encryption_is_told(bucket: &Bucket) -> Outcome {
    use aws_sdk_s3::types::ServerSideEncryption;
    let put = bucket.client.put_object().bucket(&bucket.name).key("k");
    put.server_side_encryption(ServerSideEncryption::Aes256).send().await.map_err(text)?;
    let head =
        bucket.client.head_object().bucket(&bucket.name).key("k").send().await.map_err(text)?;
    let seen = head.server_side_encryption();
    ensure!(seen == Some(&ServerSideEncryption::Aes256), "{seen:?}");
    Ok(())
}
