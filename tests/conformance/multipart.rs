//! Multipart uploads.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
};
use md5::{Digest as _, Md5};

use super::{Bucket, Outcome, cases, code, ensure, text};

/// Smallest part but the last.
const PART: usize = 5 << 20;

cases![
    Bucket;
    an_etag_is_made_of_the_parts,
    nothing_shows_before_it_is_complete,
    an_aborted_upload_is_gone,
    a_completion_only_if_nothing_is_there,
    small_parts_are_refused,
    wrong_parts_are_refused,
    parts_are_told_by_number,
    uploads_and_parts_are_listed,
    parts_are_copied_from_ranges,
    a_whole_checksum_is_combined_from_the_parts,
    a_completion_of_another_size_is_refused,
    a_completed_upload_takes_no_more_parts,
    parts_are_read_by_number,
    parts_are_listed_in_pages,
    uploads_are_listed_in_pages,
];

fn part(number: i32) -> Vec<u8> {
    vec![u8::try_from(number).unwrap_or_default(); PART]
}

async fn create(bucket: &Bucket, key: &str) -> Result<String, String> {
    let answer = bucket.client.create_multipart_upload().bucket(&bucket.name).key(key).send().await;
    answer.map_err(text)?.upload_id.ok_or_else(|| "no upload id".to_owned())
}

async fn upload(
    bucket: &Bucket,
    key: &str,
    id: &str,
    number: i32,
    body: Vec<u8>,
) -> Result<CompletedPart, String> {
    let request =
        bucket.client.upload_part().bucket(&bucket.name).key(key).upload_id(id).part_number(number);
    let answer = request.body(ByteStream::from(body)).send().await.map_err(text)?;
    Ok(CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag).build())
}

fn completed(parts: &[CompletedPart]) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts.to_vec())).build()
}

/// An upload of one part, ready to be completed.
pub(crate) async fn begun(
    bucket: &Bucket,
    key: &str,
) -> Result<(String, CompletedMultipartUpload), String> {
    let id = create(bucket, key).await?;
    let parts = [upload(bucket, key, &id, 1, b"x".to_vec()).await?];
    Ok((id, completed(&parts)))
}

/// An object of two parts, 5 MiB and 3 bytes; its ETag.
async fn two_parts(bucket: &Bucket, key: &str) -> Result<String, String> {
    let id = create(bucket, key).await?;
    let parts = [
        upload(bucket, key, &id, 1, part(1)).await?,
        upload(bucket, key, &id, 2, b"end".to_vec()).await?,
    ];
    let complete =
        bucket.client.complete_multipart_upload().bucket(&bucket.name).key(key).upload_id(&id);
    let answer = complete.multipart_upload(completed(&parts)).send().await.map_err(text)?;
    Ok(answer.e_tag.unwrap_or_default())
}

async fn an_etag_is_made_of_the_parts(bucket: &Bucket) -> Outcome {
    let etag = two_parts(bucket, "k").await?;
    let digests = [Md5::digest(part(1)), Md5::digest(b"end")].concat();
    let hex: String = Md5::digest(digests).iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(etag.trim_matches('"') == format!("{hex}-2"), "{etag}");
    ensure!(bucket.body("k").await? == [part(1), b"end".to_vec()].concat(), "other bytes");
    Ok(())
}

async fn nothing_shows_before_it_is_complete(bucket: &Bucket) -> Outcome {
    let id = create(bucket, "k").await?;
    upload(bucket, "k", &id, 1, b"x".to_vec()).await?;
    let seen = code(bucket.client.get_object().bucket(&bucket.name).key("k").send().await);
    ensure!(seen == "NoSuchKey", "{seen}");
    let page = bucket.client.list_objects_v2().bucket(&bucket.name).send().await.map_err(text)?;
    ensure!(page.contents().is_empty(), "{:?}", page.contents());
    Ok(())
}

async fn an_aborted_upload_is_gone(bucket: &Bucket) -> Outcome {
    let id = create(bucket, "k").await?;
    let abort =
        || bucket.client.abort_multipart_upload().bucket(&bucket.name).key("k").upload_id(&id);
    abort().send().await.map_err(text)?;
    let part =
        bucket.client.upload_part().bucket(&bucket.name).key("k").upload_id(&id).part_number(1);
    let seen = code(part.body(ByteStream::from_static(b"x")).send().await);
    ensure!(seen == "NoSuchUpload", "{seen}");
    Ok(())
}

async fn a_completion_only_if_nothing_is_there(bucket: &Bucket) -> Outcome {
    let id = create(bucket, "k").await?;
    let parts = [upload(bucket, "k", &id, 1, b"x".to_vec()).await?];
    bucket.put("k", "was first").await?;
    let complete =
        bucket.client.complete_multipart_upload().bucket(&bucket.name).key("k").upload_id(&id);
    let seen = code(complete.if_none_match("*").multipart_upload(completed(&parts)).send().await);
    ensure!(seen == "PreconditionFailed", "{seen}");
    ensure!(bucket.body("k").await? == b"was first", "it was overwritten");
    Ok(())
}

async fn small_parts_are_refused(bucket: &Bucket) -> Outcome {
    let id = create(bucket, "k").await?;
    let parts = [
        upload(bucket, "k", &id, 1, b"small".to_vec()).await?,
        upload(bucket, "k", &id, 2, b"end".to_vec()).await?,
    ];
    let complete =
        bucket.client.complete_multipart_upload().bucket(&bucket.name).key("k").upload_id(&id);
    let seen = code(complete.multipart_upload(completed(&parts)).send().await);
    ensure!(seen == "EntityTooSmall", "{seen}");
    Ok(())
}

async fn wrong_parts_are_refused(bucket: &Bucket) -> Outcome {
    let id = create(bucket, "k").await?;
    let first = upload(bucket, "k", &id, 1, part(1)).await?;
    let second = upload(bucket, "k", &id, 2, b"end".to_vec()).await?;
    let complete =
        || bucket.client.complete_multipart_upload().bucket(&bucket.name).key("k").upload_id(&id);
    let order = completed(&[second.clone(), first.clone()]);
    let seen = code(complete().multipart_upload(order).send().await);
    ensure!(seen == "InvalidPartOrder", "{seen}");
    let other = CompletedPart::builder().part_number(2).set_e_tag(first.e_tag.clone()).build();
    let seen = code(complete().multipart_upload(completed(&[first, other])).send().await);
    ensure!(seen == "InvalidPart", "{seen}");
    Ok(())
}

async fn parts_are_told_by_number(bucket: &Bucket) -> Outcome {
    two_parts(bucket, "k").await?;
    let head = bucket
        .client
        .head_object()
        .bucket(&bucket.name)
        .key("k")
        .part_number(1)
        .send()
        .await
        .map_err(text)?;
    let seen = (head.content_length(), head.parts_count());
    ensure!(seen == (i64::try_from(PART).ok(), Some(2)), "{seen:?}");
    Ok(())
}

async fn uploads_and_parts_are_listed(bucket: &Bucket) -> Outcome {
    let id = create(bucket, "dir/k").await?;
    create(bucket, "other").await?;
    upload(bucket, "dir/k", &id, 1, part(1)).await?;
    let listed =
        bucket.client.list_multipart_uploads().bucket(&bucket.name).prefix("dir/k").send().await;
    let listed = listed.map_err(text)?;
    let ids: Vec<_> = listed.uploads().iter().filter_map(|upload| upload.upload_id()).collect();
    ensure!(ids == [id.as_str()], "{ids:?}");
    let parts =
        bucket.client.list_parts().bucket(&bucket.name).key("dir/k").upload_id(&id).send().await;
    let sizes: Vec<_> =
        parts.map_err(text)?.parts().iter().filter_map(|part| part.size()).collect();
    ensure!(sizes == [i64::try_from(PART).unwrap_or_default()], "{sizes:?}");
    Ok(())
}

async fn parts_are_copied_from_ranges(bucket: &Bucket) -> Outcome {
    let etag = two_parts(bucket, "from").await?;
    let id = create(bucket, "to").await?;
    let source = format!("{}/from", bucket.name);
    let copy = |number: i32, range: String, etag: String| {
        let request =
            bucket.client.upload_part_copy().bucket(&bucket.name).key("to").upload_id(&id);
        let request = request.part_number(number).copy_source(&source).copy_source_range(range);
        request.copy_source_if_match(etag).send()
    };
    let seen = code(copy(1, "bytes=0-1".into(), "\"not-this-one\"".into()).await);
    ensure!(seen == "PreconditionFailed", "{seen}");
    let mut parts = Vec::new();
    for (number, range) in
        [(1, format!("bytes=0-{}", PART - 1)), (2, format!("bytes={PART}-{}", PART + 2))]
    {
        let result = copy(number, range, etag.clone()).await.map_err(text)?.copy_part_result;
        let etag = result.and_then(|result| result.e_tag);
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(etag).build());
    }
    let complete =
        bucket.client.complete_multipart_upload().bucket(&bucket.name).key("to").upload_id(&id);
    complete.multipart_upload(completed(&parts)).send().await.map_err(text)?;
    ensure!(bucket.body("to").await? == bucket.body("from").await?, "other bytes");
    Ok(())
}

async fn a_whole_checksum_is_combined_from_the_parts(bucket: &Bucket) -> Outcome {
    let create = bucket.client.create_multipart_upload().bucket(&bucket.name).key("k");
    let create = create
        .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
        .checksum_type(ChecksumType::FullObject);
    let id = create.send().await.map_err(text)?.upload_id.unwrap_or_default();
    let request =
        bucket.client.upload_part().bucket(&bucket.name).key("k").upload_id(&id).part_number(1);
    let request =
        request.checksum_crc64_nvme("jSnVw/bqjr4=").body(ByteStream::from_static(b"hello world"));
    let part = request.send().await.map_err(text)?;
    let part = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(part.e_tag)
        .checksum_crc64_nvme("jSnVw/bqjr4=");
    let complete =
        bucket.client.complete_multipart_upload().bucket(&bucket.name).key("k").upload_id(&id);
    let complete =
        complete.checksum_crc64_nvme("jSnVw/bqjr4=").checksum_type(ChecksumType::FullObject);
    complete.multipart_upload(completed(&[part.build()])).send().await.map_err(text)?;
    let get = bucket
        .client
        .get_object()
        .bucket(&bucket.name)
        .key("k")
        .checksum_mode(ChecksumMode::Enabled);
    let seen = get.send().await.map_err(text)?;
    ensure!(seen.checksum_crc64_nvme() == Some("jSnVw/bqjr4="), "{:?}", seen.checksum_crc64_nvme());
    Ok(())
}

async fn a_completion_of_another_size_is_refused(bucket: &Bucket) -> Outcome {
    let (id, parts) = begun(bucket, "k").await?;
    let complete =
        bucket.client.complete_multipart_upload().bucket(&bucket.name).key("k").upload_id(id);
    let seen = code(complete.mpu_object_size(2).multipart_upload(parts).send().await);
    ensure!(seen == "InvalidRequest", "{seen}");
    Ok(())
}

async fn a_completed_upload_takes_no_more_parts(bucket: &Bucket) -> Outcome {
    let (id, parts) = begun(bucket, "k").await?;
    let complete =
        bucket.client.complete_multipart_upload().bucket(&bucket.name).key("k").upload_id(&id);
    complete.multipart_upload(parts).send().await.map_err(text)?;
    let part =
        bucket.client.upload_part().bucket(&bucket.name).key("k").upload_id(&id).part_number(2);
    let seen = code(part.body(ByteStream::from_static(b"x")).send().await);
    ensure!(seen == "NoSuchUpload", "{seen}");
    Ok(())
}

async fn parts_are_read_by_number(bucket: &Bucket) -> Outcome {
    two_parts(bucket, "k").await?;
    let get = bucket.client.get_object().bucket(&bucket.name).key("k").part_number(2);
    let answer = get.send().await.map_err(text)?;
    let (count, range) = (answer.parts_count(), answer.content_range().map(str::to_owned));
    let body = answer.body.collect().await.map_err(text)?.to_vec();
    ensure!(body == b"end" && count == Some(2), "{count:?} {body:?}");
    let expected = format!("bytes {PART}-{}/{}", PART + 2, PART + 3);
    ensure!(range == Some(expected), "{range:?}");
    Ok(())
}

async fn parts_are_listed_in_pages(bucket: &Bucket) -> Outcome {
    let id = create(bucket, "k").await?;
    for number in [1, 2, 5] {
        upload(bucket, "k", &id, number, b"x".to_vec()).await?;
    }
    let list = bucket.client.list_parts().bucket(&bucket.name).key("k").upload_id(&id);
    let mut pages = list.max_parts(2).into_paginator().send();
    let mut numbers = Vec::new();
    while let Some(page) = pages.next().await {
        let parts = page.map_err(text)?.parts.unwrap_or_default();
        numbers.push(parts.iter().filter_map(|part| part.part_number()).collect::<Vec<_>>());
    }
    ensure!(numbers == [vec![1, 2], vec![5]], "{numbers:?}");
    Ok(())
}

async fn uploads_are_listed_in_pages(bucket: &Bucket) -> Outcome {
    for key in ["a", "b b", "c"] {
        create(bucket, key).await?;
    }
    let (mut key, mut id, mut keys) = (None, None, Vec::new());
    for _ in 0..5 {
        let list = bucket.client.list_multipart_uploads().bucket(&bucket.name).max_uploads(2);
        let page = list.set_key_marker(key).set_upload_id_marker(id).send().await.map_err(text)?;
        keys.extend(page.uploads().iter().filter_map(|upload| upload.key()).map(str::to_owned));
        if page.is_truncated() != Some(true) {
            break;
        }
        (key, id) = (page.next_key_marker, page.next_upload_id_marker);
    }
    ensure!(keys == ["a", "b b", "c"], "{keys:?}");
    Ok(())
}
