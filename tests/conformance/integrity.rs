//! Checksums and digests.

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use futures_util::stream;
use http_body_util::StreamBody;

use super::{Bucket, Outcome, cases, code, ensure, text};

/// CRC-64/NVME of "hello world", base64.
const HELLO_CRC64NVME: &str = "jSnVw/bqjr4=";

cases![
    Bucket;
    an_etag_is_the_md5,
    a_checksum_is_stored_and_told,
    a_wrong_checksum_is_refused,
    a_wrong_md5_is_refused,
    a_stream_with_a_trailer_is_taken,
    a_stream_leaves_no_mark_on_the_object,
    a_checksum_is_made_where_none_is_sent,
    a_checksum_of_another_kind_is_told_and_verified,
    a_part_with_a_wrong_checksum_is_refused,
];

async fn an_etag_is_the_md5(bucket: &Bucket) -> Outcome {
    let etag = bucket.put("k", "hello world").await?;
    ensure!(etag == "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"", "{etag}");
    Ok(())
}

async fn a_checksum_is_stored_and_told(bucket: &Bucket) -> Outcome {
    let put = bucket
        .client
        .put_object()
        .bucket(&bucket.name)
        .key("k")
        .checksum_crc64_nvme(HELLO_CRC64NVME);
    put.body(ByteStream::from_static(b"hello world")).send().await.map_err(text)?;
    let get = bucket
        .client
        .get_object()
        .bucket(&bucket.name)
        .key("k")
        .checksum_mode(ChecksumMode::Enabled);
    let answer = get.send().await.map_err(text)?;
    ensure!(
        answer.checksum_crc64_nvme() == Some(HELLO_CRC64NVME),
        "{:?}",
        answer.checksum_crc64_nvme()
    );
    Ok(())
}

async fn a_wrong_checksum_is_refused(bucket: &Bucket) -> Outcome {
    let put = bucket
        .client
        .put_object()
        .bucket(&bucket.name)
        .key("k")
        .checksum_crc64_nvme(HELLO_CRC64NVME);
    let seen = code(put.body(ByteStream::from_static(b"hello World")).send().await);
    ensure!(seen == "BadDigest" || seen == "InvalidRequest", "{seen}");
    let seen = code(bucket.client.get_object().bucket(&bucket.name).key("k").send().await);
    ensure!(seen == "NoSuchKey", "it was stored: {seen}");
    Ok(())
}

async fn a_wrong_md5_is_refused(bucket: &Bucket) -> Outcome {
    let put = bucket
        .client
        .put_object()
        .bucket(&bucket.name)
        .key("k")
        .content_md5("XrY7u+Ae7tCTyyK7j1rNww==");
    let seen = code(put.body(ByteStream::from_static(b"hello World")).send().await);
    ensure!(seen == "BadDigest", "{seen}");
    Ok(())
}

/// A body of which the SDK knows no bytes before it sends them.
fn streamed(chunks: &'static [&'static [u8]]) -> ByteStream {
    let frames = chunks.iter().map(|chunk| {
        Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from_static(chunk)))
    });
    ByteStream::new(SdkBody::from_body_1_x(StreamBody::new(stream::iter(frames))))
}

/// Puts an object as a stream with a trailer.
pub(crate) async fn put_streamed(bucket: &Bucket) -> Outcome {
    let put = bucket.client.put_object().bucket(&bucket.name).key("k").content_length(11);
    let put =
        put.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).body(streamed(&[b"hello ", b"world"]));
    let put = put.customize().config_override(
        aws_sdk_s3::Config::builder().request_checksum_calculation(
            aws_sdk_s3::config::RequestChecksumCalculation::WhenSupported,
        ),
    );
    put.send().await.map_err(text)?;
    Ok(())
}

async fn a_stream_with_a_trailer_is_taken(bucket: &Bucket) -> Outcome {
    put_streamed(bucket).await?;
    ensure!(bucket.body("k").await? == b"hello world", "other bytes");
    Ok(())
}

async fn a_stream_leaves_no_mark_on_the_object(bucket: &Bucket) -> Outcome {
    put_streamed(bucket).await?;
    let head =
        bucket.client.head_object().bucket(&bucket.name).key("k").send().await.map_err(text)?;
    ensure!(head.content_encoding().is_none_or(str::is_empty), "{:?}", head.content_encoding());
    Ok(())
}

async fn a_checksum_is_made_where_none_is_sent(bucket: &Bucket) -> Outcome {
    bucket.put("k", "hello world").await?;
    let head = bucket.client.head_object().bucket(&bucket.name).key("k");
    let head = head.checksum_mode(ChecksumMode::Enabled).send().await.map_err(text)?;
    let seen = head.checksum_crc64_nvme();
    ensure!(seen == Some(HELLO_CRC64NVME), "{seen:?}");
    Ok(())
}

async fn a_checksum_of_another_kind_is_told_and_verified(bucket: &Bucket) -> Outcome {
    // SHA-256 of "hello world", base64.
    let sha = "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=";
    let put = || bucket.client.put_object().bucket(&bucket.name).key("k").checksum_sha256(sha);
    let seen = code(put().body(ByteStream::from_static(b"hello World")).send().await);
    ensure!(seen == "BadDigest" || seen == "InvalidRequest", "{seen}");
    put().body(ByteStream::from_static(b"hello world")).send().await.map_err(text)?;
    let head = bucket.client.head_object().bucket(&bucket.name).key("k");
    let head = head.checksum_mode(ChecksumMode::Enabled).send().await.map_err(text)?;
    ensure!(head.checksum_sha256() == Some(sha), "{:?}", head.checksum_sha256());
    Ok(())
}

async fn a_part_with_a_wrong_checksum_is_refused(bucket: &Bucket) -> Outcome {
    let create = bucket.client.create_multipart_upload().bucket(&bucket.name).key("k");
    let create = create.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
    let id = create.send().await.map_err(text)?.upload_id.unwrap_or_default();
    let part =
        bucket.client.upload_part().bucket(&bucket.name).key("k").upload_id(id).part_number(1);
    let part = part.checksum_crc64_nvme(HELLO_CRC64NVME);
    let seen = code(part.body(ByteStream::from_static(b"hello World")).send().await);
    ensure!(seen == "BadDigest" || seen == "InvalidRequest", "{seen}");
    Ok(())
}
