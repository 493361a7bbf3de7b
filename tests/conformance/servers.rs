//! How real servers differ from S3 and SQS; `s3sync_tests::servers` starts them.

pub(crate) const MINISTACK_DIFFERS: &[(&str, &str)] = &[
    ("a_longer_key_is_refused", "takes keys of any length"),
    ("a_wrong_secret_is_refused", "does not check the secret of its root key"),
    ("small_parts_are_refused", "takes parts of any size"),
    ("wrong_parts_are_refused", "does not look at the order of parts"),
    ("parts_are_told_by_number", "ignores the part number of a HEAD"),
    ("a_whole_checksum_is_combined_from_the_parts", "does not combine checksums of full objects"),
    ("a_checksum_is_made_where_none_is_sent", "stores a checksum only when one is sent"),
    ("a_copy_only_if_nothing_is_there", "ignores conditions on the destination of a copy"),
    ("a_copy_onto_itself_is_refused", "takes it"),
];

pub(crate) const MINISTACK_QUEUES_DIFFER: &[(&str, &str)] = &[
    ("a_deleted_message_is_gone", "refuses to delete a message a second time"),
    ("a_receive_has_limits", "waits as long as it is asked to"),
    ("a_wrong_secret_is_refused_by_queues", "does not check the secret of its root key"),
];

pub(crate) const SEAWEEDFS_DIFFERS: &[(&str, &str)] = &[
    (
        "listing_is_in_byte_order",
        "lists a folder before its siblings: such a bucket fails as unordered_listing",
    ),
    ("every_odd_key_survives", "keys are paths of a file system: no `.`, `..`, `//`"),
    ("the_longest_key_is_taken", "a segment of a key has at most 255 bytes"),
    ("a_conditional_put_needs_something_there", "answers 412 where S3 answers 404"),
    ("a_conditional_delete_needs_something_there", "answers 412 where S3 answers 404"),
    ("a_checksum_is_made_where_none_is_sent", "stores a checksum only when one is sent"),
    ("a_completion_of_another_size_is_refused", "does not look at the announced size"),
    ("uploads_are_listed_in_pages", "does not list uploads in the order of their keys"),
    ("a_redirect_is_kept", "does not keep it"),
    ("encryption_is_told", "encrypts only with a key manager, which is not set up"),
    (
        "a_stream_leaves_no_mark_on_the_object",
        "keeps aws-chunked as the object's own encoding; the agent strips it",
    ),
];
