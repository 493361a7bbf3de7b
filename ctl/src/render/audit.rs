//! The audit log.

use s3sync_proto::model::{AuditEntry, AuditOutcome};

use super::Show;
use super::text::time;

impl Show for AuditEntry {
    const PLURAL: &'static str = "changes";
    const COLUMNS: (&'static [&'static str], &'static [&'static str]) =
        (&["TIME", "WHO", "CALL", "RESOURCE", "OUTCOME"], &["FROM", "REQUEST"]);

    fn row(&self) -> Vec<String> {
        vec![
            time(Some(self.created)),
            self.call.caller.clone(),
            self.call.method.clone(),
            self.call.resource.clone(),
            outcome(&self.outcome),
            self.call.peer.clone(),
            self.call.request.clone(),
        ]
    }

    fn details(&self) -> Vec<(String, String)> {
        let labels = ["time", "who", "call", "resource", "outcome", "from", "request"];
        labels.iter().map(|label| (*label).to_owned()).zip(self.row()).collect()
    }
}

fn outcome(outcome: &AuditOutcome) -> String {
    match outcome {
        AuditOutcome::Unknown => "not known".to_owned(),
        AuditOutcome::Done => "done".to_owned(),
        AuditOutcome::Refused(reason) => format!("refused: {reason}"),
    }
}
