//! The open part of a session: sends states and durable messages, does what the server says.

use std::time::Duration;

use s3sync_proto::model::{
    FailureClass, FromAgent, Held, Lease, State, ToAgent, Verdict, WorkError,
};
use s3sync_proto::wire::UnknownMessage;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::fault::Fault;
use super::link::{Link, Received, Transmit};
use super::pulse::Pulse;
use super::reconcile::Arrival;
use super::{Drained, Session};
use crate::backoff;

/// A server that stops asks its agents to dial again within a time; more than this is not waited.
const MAX_REDIRECT: Duration = Duration::from_secs(30);

impl Session {
    /// Serves one session to its end.
    pub(super) async fn serve(
        &mut self,
        link: &mut Link,
        pulse: &mut Pulse,
    ) -> Result<Fault, Drained> {
        let mut outgoing = None;
        let mut open = true;
        let mut redial: Option<Instant> = None;
        loop {
            // A last report is acknowledged before the agent leaves, and what it has begun to say is said.
            if self.is_drained() && outgoing.is_none() {
                return Err(Drained);
            }
            if outgoing.is_none() {
                outgoing = self.next_outgoing(pulse);
            }
            let due = pulse.due(self.ledger.changed());
            // In an order that starves nobody: workers tell only so much before what they told is acknowledged, and what
            // is received comes before the verdict that nothing was.
            tokio::select! {
                biased;
                () = self.upkeep() => {}
                // A message that waits for room in the connection does not keep others from being received.
                sent = transmit(&*link.sender, outgoing.as_ref()), if open && outgoing.is_some() => {
                    outgoing = None;
                    // Why it ended is learned by receiving.
                    open = sent;
                }
                received = link.receiver.receive() => match received {
                    Ok(Some(message)) => self.received(message, pulse, &mut redial),
                    Ok(None) => return Ok(Fault::Broken("the server ended the stream".into())),
                    Err(error) => return Ok(error.into()),
                },
                () = sleep_until(due), if outgoing.is_none() => {}
                () = sleep_until(pulse.dead()) => return Ok(Fault::Silent),
                () = sleep_until(redial.unwrap_or(due)), if redial.is_some() => {
                    return Ok(Fault::Broken("the server asked to dial again".into()));
                }
            }
        }
    }

    /// What to send next: a state when one is due, else what was said longest ago.
    fn next_outgoing(&mut self, pulse: &mut Pulse) -> Option<FromAgent> {
        if Instant::now() < pulse.due(self.ledger.changed()) {
            return self.questions.next().or_else(|| self.ledger.next());
        }
        // The window counts from here, which is before the state leaves.
        let sequence = pulse.beat(self.ledger.gate.read_clocks());
        let (held, capacity, draining) = self.ledger.state(sequence);
        let last_lease = pulse.last_lease();
        Some(FromAgent::State(State { sequence, capacity, held, draining, last_lease }))
    }

    fn received(&mut self, message: Received, pulse: &mut Pulse, redial: &mut Option<Instant>) {
        match message {
            Ok(ToAgent::Lease(lease)) => {
                self.leased(pulse, &lease);
                self.backoff.reset();
            }
            Ok(ToAgent::Assignment(assignment)) => {
                let held = assignment.held;
                let (arrival, orders) = self.ledger.admit(&assignment);
                if let Some(orders) = orders {
                    info!(run = %assignment.run, assignment = held.id, epoch = held.epoch, "assigned");
                    self.staff.start(*assignment, orders);
                } else if let Arrival::Refuse(error) = arrival {
                    warn!(assignment = held.id, code = error.code, "refused");
                }
            }
            Ok(ToAgent::Revocation { held, reason }) => {
                info!(assignment = held.id, epoch = held.epoch, reason, "revoked");
                self.ledger.revoke(held);
            }
            Ok(ToAgent::Ack(ack)) => {
                if ack.verdict == Verdict::Stale {
                    info!(sequence = ack.sequence, "a report came too late; its work is dropped");
                }
                self.ledger.acknowledge(ack);
            }
            Ok(ToAgent::SplitRequest(held)) => self.ledger.ask_split(held),
            Ok(ToAgent::Shares(shares)) => {
                self.workshop.share(&shares.shares, Instant::now() + pulse.window());
                self.ledger.applied_shares(shares.version);
            }
            Ok(ToAgent::Redirect(within)) => {
                let random = fastrand::f64();
                let wait = backoff::between(Duration::ZERO, within.min(MAX_REDIRECT), random);
                redial.get_or_insert(Instant::now() + wait);
            }
            Ok(ToAgent::Watch(watch)) => {
                let (arrival, orders) = self.ledger.admit_watch(watch.held);
                if let Some(orders) = orders {
                    self.staff.start_watch(*watch, orders);
                } else if let Arrival::Refuse(error) = arrival {
                    warn!(watch = watch.held.id, code = error.code, "refused");
                }
            }
            Ok(ToAgent::Question(question)) => self.questions.ask(question),
            Ok(ToAgent::Withdrawal(id)) => self.questions.withdraw(id),
            Ok(ToAgent::Welcome(_)) => warn!("a second Welcome; ignored"),
            Err(UnknownMessage::Assignment { held, problem }) => {
                self.refuse_unknown(held, problem.to_string());
            }
            Err(UnknownMessage::Question { id, problem }) => {
                let (class, message) = (FailureClass::Permanent, problem.to_string());
                self.questions.refuse(id, class, "unknown_question", message);
            }
            Err(UnknownMessage::Kind) => debug!("a message of an unknown kind; ignored"),
            Err(problem @ (UnknownMessage::Invalid(_) | UnknownMessage::Answer { .. })) => {
                warn!(%problem, "a message makes no sense")
            }
        }
    }

    /// Applies a lease: drops what is not confirmed, opens the window.
    pub(super) fn leased(&self, pulse: &mut Pulse, lease: &Lease) {
        let sent = pulse.answered(lease.sequence, lease.heartbeat_interval);
        // Counted from here it ends long before the session expires, which is when the server deals the shares to others.
        self.workshop.keep_shares(Instant::now() + lease.write_window);
        pulse.keep_window(lease.write_window);
        for held in self.ledger.confirm(lease, sent) {
            warn!(assignment = held.id, epoch = held.epoch, "not ours any more; dropped");
        }
    }

    /// Unknown work is refused, never ignored: the server would wait for it.
    fn refuse_unknown(&self, held: Held, message: String) {
        warn!(assignment = held.id, message, "work that is not understood; refused");
        let code = "unknown_work".to_owned();
        self.ledger.refuse(held, WorkError { class: FailureClass::Permanent, code, message });
    }
}

/// Sends a message, if there is one. May be abandoned and begun again: a link sends all of it or nothing.
async fn transmit(sender: &dyn Transmit, message: Option<&FromAgent>) -> bool {
    match message {
        Some(message) => sender.transmit(message.clone()).await,
        None => true,
    }
}
