//! What was learned of a bucket, a line each.

use s3sync_proto::model::{BucketFacts, EtagKind};

use super::text::{age, now, plain};

/// Label and value of each fact.
pub(super) fn bucket_facts(facts: &BucketFacts) -> Vec<(String, String)> {
    let BucketFacts {
        endpoint: _,
        bucket,
        conditional_writes,
        etags,
        tags,
        trailers,
        unordered_listing,
        checksums,
        conditional_copies,
        conditional_deletes,
        batch_deletes,
        learned,
    } = facts;
    let line = |label: &str, value: &str| (format!("  {label}"), value.to_owned());
    let told = |fact: &Option<bool>, yes: &str, no: &str| match fact {
        None => "not learned yet".to_owned(),
        Some(true) => format!("yes{yes}"),
        Some(false) => format!("no{no}"),
    };
    let etags = match etags {
        None => "not learned yet",
        Some(EtagKind::Md5) => "MD5 of the bytes",
        Some(EtagKind::Opaque) => "opaque: copies are stamped with what they are copies of",
    };
    let order = if *unordered_listing {
        "OUT OF ORDER: cannot be compared"
    } else {
        "ascending, as far as seen"
    };
    let when = match age(*learned, now()).as_str() {
        "-" => String::new(),
        age => format!(", newest fact {age} ago"),
    };
    let looked = "; the source is looked at again after each";
    let md5 = "; bodies are verified by MD5";
    vec![
        ("bucket".to_owned(), plain(bucket) + &when),
        line("conditional writes", &told(conditional_writes, "", looked)),
        line("conditional copies", &told(conditional_copies, "", looked)),
        line(
            "conditional deletes",
            &told(conditional_deletes, "", "; only deletes.unconditional deletes"),
        ),
        line("deletes in batches", &told(batch_deletes, "", "; one by one")),
        line("ETags", etags),
        line("checksums", &told(checksums, "", md5)),
        line("trailers", &told(trailers, "", md5)),
        line("tags readable", &told(tags, "", "; they are not copied")),
        line("listing order", order),
    ]
}
