//! Pure. Whether a queue's policy lets a service send, as far as its text tells ("IAM JSON policy elements", IAM User
//! Guide). What cannot be judged from here is said, not guessed.

use serde_json::Value;

/// Who would send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    /// Such as `s3.amazonaws.com`.
    pub(super) service: &'a str,
    /// ARN of what it sends for; `None` when that is one of many.
    pub(super) source: Option<&'a str>,
}

/// Whether it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sends {
    /// It may.
    Yes,
    /// It may under conditions that are not judged here; which.
    Perhaps(String),
    /// Nothing lets it.
    No,
    /// A statement forbids it; which.
    Denied(String),
}

/// Whether a statement is about something.
enum Applies {
    Yes,
    Perhaps(String),
    No,
}

/// Whether `sender` may send to the queue of this ARN, which belongs to this account.
pub(super) fn may_send(policy: &Value, queue: &str, account: &str, sender: Sender<'_>) -> Sends {
    let mut best = Sends::No;
    for statement in statements(policy) {
        let name = statement["Sid"].as_str().unwrap_or("without a Sid");
        let allows = statement["Effect"] == "Allow";
        match (applies(statement, queue, account, sender), allows) {
            (Applies::No, _) => {}
            (Applies::Yes, false) => return Sends::Denied(name.to_owned()),
            (Applies::Yes, true) if best == Sends::No => best = Sends::Yes,
            (Applies::Yes, true) => {}
            // A condition of a denial that is not known may forbid what others allow.
            (Applies::Perhaps(why), false) => {
                best = Sends::Perhaps(format!("its statement {name} forbids it where {why}"));
            }
            (Applies::Perhaps(why), true) if best == Sends::No => {
                best = Sends::Perhaps(format!("its statement {name} allows it where {why}"));
            }
            (Applies::Perhaps(_), true) => {}
        }
    }
    best
}

/// The statements of a policy, of which one alone need not be a list.
pub(super) fn statements(policy: &Value) -> &[Value] {
    match &policy["Statement"] {
        Value::Array(all) => all,
        one @ Value::Object(_) => std::slice::from_ref(one),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => &[],
    }
}

fn applies(statement: &Value, queue: &str, account: &str, sender: Sender<'_>) -> Applies {
    let mut unclear = Vec::new();
    for negated in ["NotPrincipal", "NotAction", "NotResource"] {
        if statement.get(negated).is_some() {
            unclear.push(format!("{negated} lets it"));
        }
    }
    let principal = &statement["Principal"];
    let everybody = *principal == "*" || values(&principal["AWS"]).any(|one| one == "*");
    let named = values(&principal["Service"]).any(|one| one == sender.service);
    let action = |one: &str| matches(&one.to_lowercase(), "sqs:sendmessage");
    let resource = |one: &str| matches(one, queue);
    let given = |field: &str| statement.get(field).is_some();
    if (given("Principal") && !everybody && !named)
        || (given("Action") && !values(&statement["Action"]).any(action))
        || (given("Resource") && !values(&statement["Resource"]).any(resource))
    {
        return Applies::No;
    }
    for (operator, conditions) in statement["Condition"].as_object().into_iter().flatten() {
        for (key, wanted) in conditions.as_object().into_iter().flatten() {
            match condition(operator, key, wanted, account, sender) {
                Applies::Yes => {}
                Applies::No => return Applies::No,
                Applies::Perhaps(why) => unclear.push(why),
            }
        }
    }
    if unclear.is_empty() { Applies::Yes } else { Applies::Perhaps(unclear.join(" and ")) }
}

fn condition(
    operator: &str,
    key: &str,
    wanted: &Value,
    account: &str,
    sender: Sender<'_>,
) -> Applies {
    let told = |yes: bool| if yes { Applies::Yes } else { Applies::No };
    let plain = operator.trim_end_matches("IfExists").to_lowercase();
    let unclear = || {
        let wanted: Vec<&str> = values(wanted).collect();
        Applies::Perhaps(format!("{operator} {key} {}", wanted.join(", ")))
    };
    match (key.to_lowercase().as_str(), plain.as_str()) {
        ("aws:sourcearn", "arnequals" | "arnlike" | "stringlike" | "stringequals") => {
            match sender.source {
                Some(source) => told(values(wanted).any(|one| matches(one, source))),
                None => unclear(),
            }
        }
        ("aws:sourceaccount", "stringequals" | "stringlike") => {
            // The bucket's owner is not known; most often it is the queue's.
            if values(wanted).any(|one| matches(one, account)) { Applies::Yes } else { unclear() }
        }
        // Services send over TLS.
        ("aws:securetransport", "bool") => {
            told(values(wanted).any(|one| one == "true") || *wanted == true)
        }
        _ => unclear(),
    }
}

/// The texts of a value that is a text or a list of them.
fn values(value: &Value) -> impl Iterator<Item = &str> {
    let many = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    value.as_str().into_iter().chain(many)
}

/// Whether a text matches a pattern in which `*` stands for any text and `?` for any byte.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where the last star is, and how much of the text it takes.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[read] => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    read = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const QUEUE: &str = "arn:aws:sqs:us-west-2:123456789012:media";
    const BUCKET: &str = "arn:aws:s3:::srcbucket";

    fn judged(statement: Value) -> Sends {
        let sender = Sender { service: "s3.amazonaws.com", source: Some(BUCKET) };
        may_send(&json!({"Statement": statement}), QUEUE, "123456789012", sender)
    }

    fn allow(more: Value) -> Value {
        let mut all = json!({
            "Sid": "one",
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": QUEUE,
        });
        for (field, value) in more.as_object().unwrap() {
            all[field] = value.clone();
        }
        all
    }

    #[test]
    fn what_lets_s3_send_and_what_does_not() {
        let source = |arn: &str| json!({"Condition": {"ArnLike": {"aws:SourceArn": arn}}});
        let cases = [
            (allow(json!({})), Sends::Yes),
            (allow(json!({"Principal": "*", "Action": ["SQS:*"], "Resource": "*"})), Sends::Yes),
            (allow(json!({"Principal": {"AWS": "*"}})), Sends::Yes),
            (allow(json!({"Action": "sqs:Send*"})), Sends::Yes),
            (allow(source("arn:aws:s3:::srcbucket")), Sends::Yes),
            (allow(source("arn:aws:s3:*:*:src*")), Sends::Yes),
            (
                allow(json!({"Condition": {
                    "StringEquals": {"aws:SourceAccount": ["1", "123456789012"]},
                    "Bool": {"aws:SecureTransport": "true"},
                }})),
                Sends::Yes,
            ),
            (allow(source("arn:aws:s3:::other")), Sends::No),
            (allow(json!({"Principal": {"Service": "sns.amazonaws.com"}})), Sends::No),
            (allow(json!({"Principal": {"AWS": "arn:aws:iam::1:root"}})), Sends::No),
            (allow(json!({"Action": "sqs:ReceiveMessage"})), Sends::No),
            (allow(json!({"Resource": "arn:aws:sqs:us-west-2:123456789012:other"})), Sends::No),
            (json!([]), Sends::No),
            (Value::Null, Sends::No),
            (
                allow(json!({"Condition": {"StringEquals": {"aws:SourceAccount": "1"}}})),
                Sends::Perhaps(
                    "its statement one allows it where StringEquals aws:SourceAccount 1".into(),
                ),
            ),
            (
                allow(json!({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}})),
                Sends::Perhaps(
                    "its statement one allows it where IpAddress aws:SourceIp 10.0.0.0/8".into(),
                ),
            ),
            (
                json!([allow(json!({})), {"Sid": "no", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}]),
                Sends::Denied("no".into()),
            ),
            (
                json!([{"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*",
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}}}, allow(json!({}))]),
                Sends::Yes,
            ),
        ];
        for (statement, expected) in cases {
            assert_eq!(judged(statement.clone()), expected, "{statement:#}");
        }
    }

    #[test]
    fn patterns_are_those_of_iam() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a*b*c", "a-b-b-c", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("", "a", false),
            ("a**", "a", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
