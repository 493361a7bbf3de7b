//! Pages of lists: sizes within limits, tokens that belong to one list.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3sync_proto::status::{reason, status};
use tonic::{Code, Status};

/// Items of a page when the client does not say.
const DEFAULT_SIZE: u32 = 100;
/// Most items of a page. Failures have the longest rows; 1,000 of them stay below the message limit.
pub(super) const MAX_SIZE: u32 = 1_000;
/// Longest part of a token: a key.
const MAX_TOKEN: usize = 4_096;

/// How many items were asked for, within the limits.
pub(super) fn size(asked: i32) -> u32 {
    match u32::try_from(asked) {
        Ok(0) | Err(_) => DEFAULT_SIZE,
        Ok(asked) => asked.min(MAX_SIZE),
    }
}

/// A token for the item a list goes on after.
pub(super) fn token(list: &str, position: &[u8]) -> String {
    let mut bytes = list.as_bytes().to_vec();
    bytes.push(0);
    bytes.extend_from_slice(position);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position of a token, if it is one of this list; `None` when there is no token.
pub(super) fn position(list: &str, token: &str) -> Result<Option<Vec<u8>>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let refuse = || {
        status(
            Code::InvalidArgument,
            reason::PAGE_TOKEN_INVALID,
            "the page token is not one of this list",
        )
    };
    if token.len() > MAX_TOKEN {
        return Err(refuse());
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refuse())?;
    let rest = bytes.strip_prefix(list.as_bytes()).and_then(|rest| rest.strip_prefix(&[0]));
    rest.map(|position| Some(position.to_vec())).ok_or_else(refuse)
}

/// A position that is a number.
pub(super) fn number(list: &str, token: &str) -> Result<Option<u64>, Status> {
    let Some(position) = position(list, token)? else { return Ok(None) };
    let bytes: Result<[u8; 8], _> = position.try_into();
    bytes.map(|bytes| Some(u64::from_be_bytes(bytes))).map_err(|_| {
        status(
            Code::InvalidArgument,
            reason::PAGE_TOKEN_INVALID,
            "the page token is not one of this list",
        )
    })
}

/// Cuts a page that was read with one item more than its size, and the token of the next: where the last item stands.
pub(super) fn cut<T>(
    list: &str,
    items: &mut Vec<T>,
    size: u32,
    position: impl FnOnce(&T) -> Vec<u8>,
) -> String {
    let more = items.len() > size as usize;
    items.truncate(size as usize);
    match items.last() {
        Some(last) if more => token(list, &position(last)),
        _ => String::new(),
    }
}

/// One page of what is sorted by name, and the token of the next.
pub(super) fn by_name<T>(
    list: &str,
    items: impl Iterator<Item = (String, T)>,
    asked: i32,
    token: &str,
) -> Result<(Vec<T>, String), Status> {
    let after = position(list, token)?;
    let size = size(asked) as usize;
    let mut rest = items
        .filter(|(name, _)| after.as_ref().is_none_or(|after| name.as_bytes() > after.as_slice()));
    let mut page = Vec::new();
    let mut last = String::new();
    for (name, item) in rest.by_ref().take(size) {
        page.push(item);
        last = name;
    }
    let next =
        if rest.next().is_some() { self::token(list, last.as_bytes()) } else { String::new() };
    Ok((page, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_kept_within_limits() {
        let sizes = [-1, 0, 1, 999, 1_000, 1_001, i32::MAX].map(size);
        assert_eq!(sizes, [DEFAULT_SIZE, DEFAULT_SIZE, 1, 999, MAX_SIZE, MAX_SIZE, MAX_SIZE]);
    }

    #[test]
    fn a_token_belongs_to_its_list() {
        let issued = token("jobs", b"media");
        assert_eq!(position("jobs", &issued).unwrap(), Some(b"media".to_vec()));
        assert_eq!(position("jobs", "").unwrap(), None);
        for (list, bad) in
            [("endpoints", issued.as_str()), ("jobs", "???"), ("jobs", &"A".repeat(5_000))]
        {
            assert_eq!(position(list, bad).unwrap_err().code(), Code::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn pages_meet_without_gap_or_repetition() {
        let items = || (0..25).map(|n| (format!("{n:02}"), n));
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let (page, next) = by_name("x", items(), 10, &token).unwrap();
            seen.extend(page);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        assert_eq!(seen, (0..25).collect::<Vec<_>>());
    }
}
