//! Pure. What two objects carry beside their bytes, and where they differ.

use super::STAMP;
use crate::s3::Attributes;

/// What S3 answers for an object that was written without a Content-Type (API reference, PutObject).
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// Names of what the destination carries otherwise than the source. Our stamp is no part of it, nor are storage class
/// and encryption: lifecycle rules and key rotation change those on purpose.
#[must_use]
pub fn drift(source: &Attributes, destination: &Attributes) -> Vec<String> {
    let type_of = |of: &Attributes| {
        of.content_type.clone().unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned())
    };
    let mut drifted: Vec<String> = [
        ("content-type", type_of(source) == type_of(destination)),
        ("content-encoding", source.content_encoding == destination.content_encoding),
        ("content-language", source.content_language == destination.content_language),
        ("content-disposition", source.content_disposition == destination.content_disposition),
        ("cache-control", source.cache_control == destination.cache_control),
        ("expires", source.expires == destination.expires),
        ("website redirect", source.website_redirect == destination.website_redirect),
        ("metadata", destination.missing_metadata == 0),
    ]
    .into_iter()
    .filter(|(_, same)| !same)
    .map(|(name, _)| name.to_owned())
    .collect();
    let names = source.metadata.keys().chain(destination.metadata.keys());
    let mut names: Vec<&String> = names.filter(|name| *name != STAMP).collect();
    names.sort();
    names.dedup();
    let differs = |name: &&&String| source.metadata.get(**name) != destination.metadata.get(**name);
    drifted.extend(names.iter().filter(differs).map(|name| format!("x-amz-meta-{name}")));
    drifted
}

/// Whether two sets of tags are the same. Their order means nothing.
#[must_use]
pub fn same_tags(one: &[(String, String)], other: &[(String, String)]) -> bool {
    let sorted = |tags: &[(String, String)]| {
        let mut tags = tags.to_vec();
        tags.sort();
        tags
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carrying() -> Attributes {
        let text = |text: &str| Some(text.to_owned());
        Attributes {
            content_type: text("image/jpeg"),
            content_encoding: text("gzip"),
            content_language: text("de"),
            content_disposition: text("inline"),
            cache_control: text("no-store"),
            expires: text("never"),
            website_redirect: text("/b"),
            metadata: [("who".to_owned(), "me".to_owned())].into(),
            storage_class: text("STANDARD_IA"),
            missing_metadata: 0,
        }
    }

    #[test]
    fn each_attribute_is_looked_at_by_itself() {
        let source = carrying();
        assert!(drift(&source, &source).is_empty());
        type Change = (&'static str, fn(&mut Attributes));
        let changes: [Change; 9] = [
            ("content-type", |a| a.content_type = None),
            ("content-encoding", |a| a.content_encoding = None),
            ("content-language", |a| a.content_language = Some("en".into())),
            ("content-disposition", |a| a.content_disposition = None),
            ("cache-control", |a| a.cache_control = None),
            ("expires", |a| a.expires = None),
            ("website redirect", |a| a.website_redirect = None),
            ("x-amz-meta-who", |a| a.metadata.clear()),
            ("metadata", |a| a.missing_metadata = 1),
        ];
        for (name, change) in changes {
            let mut changed = carrying();
            change(&mut changed);
            assert_eq!(drift(&source, &changed), [name]);
        }
        let more =
            Attributes { metadata: [("more".to_owned(), "x".to_owned())].into(), ..carrying() };
        assert_eq!(drift(&source, &more), ["x-amz-meta-more", "x-amz-meta-who"]);
    }

    #[test]
    fn stamps_classes_and_what_s3_fills_in_are_no_drift() {
        let mut stamped = carrying();
        stamped.metadata.insert(STAMP.to_owned(), "x/1".to_owned());
        stamped.storage_class = None;
        assert!(drift(&carrying(), &stamped).is_empty());
        assert!(drift(&stamped, &carrying()).is_empty());
        let filled = Attributes {
            content_type: Some(DEFAULT_CONTENT_TYPE.to_owned()),
            ..Attributes::default()
        };
        assert!(drift(&Attributes::default(), &filled).is_empty());
    }

    #[test]
    fn tags_have_no_order() {
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert!(same_tags(&[tag("a", "1"), tag("b", "2")], &[tag("b", "2"), tag("a", "1")]));
        assert!(!same_tags(&[tag("a", "1")], &[tag("a", "2")]));
        assert!(!same_tags(&[tag("a", "1")], &[]));
    }
}
