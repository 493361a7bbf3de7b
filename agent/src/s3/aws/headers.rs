//! Makes headers of answers readable before the SDK reads them: it refuses whole answers for one value that is not
//! UTF-8, and panics when that is `Expires`.

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

/// Reads values that are not UTF-8 as ISO-8859-1, which HTTP had them be (RFC 9110, section 5.5).
#[derive(Debug)]
pub(super) struct Readable;

impl Intercept for Readable {
    fn name(&self) -> &'static str {
        "Readable"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response_mut().headers_mut();
        let unreadable: Vec<(String, String)> = headers
            .iter_bytes()
            .filter(|(_, value)| std::str::from_utf8(value).is_err())
            .map(|(name, value)| (name.to_owned(), value.iter().copied().map(char::from).collect()))
            .collect();
        for (name, value) in unreadable {
            headers.try_insert(name, value)?;
        }
        Ok(())
    }
}
