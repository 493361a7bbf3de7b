//! Keys and listings.

use aws_sdk_s3::types::EncodingType;
use s3sync_tests::objects::ODD_KEYS;

use super::{Bucket, Outcome, cases, code, ensure, text};

cases![
    Bucket;
    listing_is_in_byte_order,
    non_bmp_keys_come_last,
    pages_continue_without_gap,
    start_after_begins_above,
    a_prefix_is_a_plain_string,
    a_delimiter_groups,
    common_odd_keys_survive,
    every_odd_key_survives,
    the_longest_key_is_taken,
    a_longer_key_is_refused,
    listing_tells_size_and_etag,
    groups_are_listed_in_pages,
    an_empty_place_lists_nothing,
];

async fn list(bucket: &Bucket, prefix: &str, after: Option<&str>) -> Result<Vec<String>, String> {
    let request = bucket.client.list_objects_v2().bucket(&bucket.name).prefix(prefix);
    let request =
        request.encoding_type(EncodingType::Url).set_start_after(after.map(str::to_owned));
    let mut pages = request.into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let objects = page.map_err(text)?.contents.unwrap_or_default();
        keys.extend(objects.into_iter().filter_map(|object| object.key).map(|key| decode(&key)));
    }
    Ok(keys)
}

/// S3 encodes like a form: a space is `+`.
fn decode(key: &str) -> String {
    let spaced = key.replace('+', " ");
    let mut bytes = Vec::new();
    let mut rest = spaced.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn put_all(bucket: &Bucket, keys: &[&str]) -> Outcome {
    for key in keys {
        bucket.put(key, *key).await?;
    }
    Ok(())
}

async fn listing_is_in_byte_order(bucket: &Bucket) -> Outcome {
    put_all(bucket, &["a0", "a/b", "a", "a.b", "a-b"]).await?;
    let keys = list(bucket, "", None).await?;
    ensure!(keys == ["a", "a-b", "a.b", "a/b", "a0"], "{keys:?}");
    Ok(())
}

async fn non_bmp_keys_come_last(bucket: &Bucket) -> Outcome {
    put_all(bucket, &["\u{10000}", "\u{ff01}", "z"]).await?;
    let keys = list(bucket, "", None).await?;
    ensure!(keys == ["z", "\u{ff01}", "\u{10000}"], "{keys:?}");
    Ok(())
}

async fn pages_continue_without_gap(bucket: &Bucket) -> Outcome {
    let names: Vec<String> = (0..25).map(|n| format!("k{n:02}")).collect();
    put_all(bucket, &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let mut pages =
        bucket.client.list_objects_v2().bucket(&bucket.name).max_keys(10).into_paginator().send();
    let (mut keys, mut sizes) = (Vec::new(), Vec::new());
    while let Some(page) = pages.next().await {
        let objects = page.map_err(text)?.contents.unwrap_or_default();
        sizes.push(objects.len());
        keys.extend(objects.into_iter().filter_map(|object| object.key));
    }
    ensure!(keys == names && sizes == [10, 10, 5], "{sizes:?} {keys:?}");
    Ok(())
}

async fn start_after_begins_above(bucket: &Bucket) -> Outcome {
    put_all(bucket, &["a", "b", "c/d", "c/e", "d"]).await?;
    for (after, expected) in
        [("b", vec!["c/d", "c/e", "d"]), ("bb", vec!["c/d", "c/e", "d"]), ("c/d", vec!["c/e", "d"])]
    {
        let keys = list(bucket, "", Some(after)).await?;
        ensure!(keys == expected, "after {after}: {keys:?}");
    }
    Ok(())
}

async fn a_prefix_is_a_plain_string(bucket: &Bucket) -> Outcome {
    put_all(bucket, &["p", "pq", "q", "p-1"]).await?;
    let keys = list(bucket, "p", None).await?;
    ensure!(keys == ["p", "p-1", "pq"], "{keys:?}");
    Ok(())
}

async fn a_delimiter_groups(bucket: &Bucket) -> Outcome {
    put_all(bucket, &["a", "d/1", "d/2", "e/1"]).await?;
    let page = bucket
        .client
        .list_objects_v2()
        .bucket(&bucket.name)
        .delimiter("/")
        .send()
        .await
        .map_err(text)?;
    let groups: Vec<_> = page.common_prefixes().iter().filter_map(|group| group.prefix()).collect();
    let keys: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    ensure!(groups == ["d/", "e/"] && keys == ["a"], "{groups:?} {keys:?}");
    Ok(())
}

async fn survive(bucket: &Bucket, keys: &[&str]) -> Outcome {
    for key in keys {
        bucket.put(key, *key).await.map_err(|error| format!("{key:?}: {error}"))?;
    }
    for key in keys {
        let body = bucket.body(key).await.map_err(|error| format!("{key:?}: {error}"))?;
        ensure!(
            body == key.as_bytes(),
            "{key:?} has the bytes of {:?}",
            String::from_utf8_lossy(&body)
        );
    }
    let listed = list(bucket, "", None).await?;
    let mut expected: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    expected.sort();
    let missing: Vec<_> = expected.iter().filter(|key| !listed.contains(key)).collect();
    ensure!(listed == expected, "missing from the listing: {missing:?}; listed {listed:?}");
    Ok(())
}

async fn common_odd_keys_survive(bucket: &Bucket) -> Outcome {
    survive(
        bucket,
        &["a b", "a+b", "a%20b", "a&b=c", "a?b#c", "ü-\u{e9}", "e\u{301}", "emoji-\u{1f600}"],
    )
    .await
}

async fn every_odd_key_survives(bucket: &Bucket) -> Outcome {
    survive(bucket, ODD_KEYS).await
}

async fn the_longest_key_is_taken(bucket: &Bucket) -> Outcome {
    let key = "k".repeat(1_024);
    bucket.put(&key, "x").await?;
    ensure!(bucket.body(&key).await? == b"x", "other bytes");
    Ok(())
}

async fn a_longer_key_is_refused(bucket: &Bucket) -> Outcome {
    let key = "k".repeat(1_025);
    let seen = code(bucket.client.put_object().bucket(&bucket.name).key(key).send().await);
    ensure!(seen == "KeyTooLongError", "{seen}");
    Ok(())
}

async fn listing_tells_size_and_etag(bucket: &Bucket) -> Outcome {
    let etag = bucket.put("k", "hello").await?;
    let page = bucket.client.list_objects_v2().bucket(&bucket.name).send().await.map_err(text)?;
    let object = page.contents().first().ok_or("nothing is listed")?;
    ensure!(object.size() == Some(5) && object.e_tag() == Some(&etag), "{object:?}");
    ensure!(object.last_modified().is_some(), "{object:?}");
    Ok(())
}

async fn groups_are_listed_in_pages(bucket: &Bucket) -> Outcome {
    put_all(bucket, &["a", "d/1", "d/2", "d/3", "e/1", "f"]).await?;
    let list = bucket.client.list_objects_v2().bucket(&bucket.name).delimiter("/").max_keys(1);
    let mut pages = list.into_paginator().send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(text)?;
        names.extend(page.contents().iter().filter_map(|object| object.key()).map(str::to_owned));
        let groups = page.common_prefixes().iter().filter_map(|group| group.prefix());
        names.extend(groups.map(str::to_owned));
    }
    ensure!(names == ["a", "d/", "e/", "f"], "{names:?}");
    Ok(())
}

async fn an_empty_place_lists_nothing(bucket: &Bucket) -> Outcome {
    put_all(bucket, &["a", "b"]).await?;
    for (prefix, after) in [("c", None), ("", Some("b")), ("a/", None)] {
        let keys = list(bucket, prefix, after).await?;
        ensure!(keys.is_empty(), "{prefix:?} after {after:?}: {keys:?}");
    }
    Ok(())
}
