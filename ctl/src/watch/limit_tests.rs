//! Sentences of what limits a run.

use s3sync_proto::model::{EndpointLoad, RequestUsage, WaitUsage};

use super::*;
use crate::watch::tests::{agent, states, view};

fn request(side: RequestSide, operation: Operation, made: u64, seconds: u64) -> RequestUsage {
    RequestUsage { side, operation, made, slowed: 7, failed: 9, time: Duration::from_secs(seconds) }
}

/// Ten seconds in which 100 GETs took 20 s together, and something was waited for.
fn since(reason: WaitReason, seconds: u64) -> Since {
    let list = request(RequestSide::Source, Operation::List, 4, 2);
    let get = request(RequestSide::Source, Operation::Get, 100, 20);
    let waits = vec![WaitUsage { reason, time: Duration::from_secs(seconds) }];
    Since { time: Duration::from_secs(10), usage: Usage { requests: vec![list, get], waits } }
}

fn said(view: &RunView, since: &Since) -> String {
    limited(view, since).map(|(text, _)| text).unwrap_or_default()
}

#[test]
fn what_is_waited_for_most_is_said() {
    let mut view = view();
    view.limits.requests_per_second = Some(500);
    view.limits.bandwidth = Some(200 << 20);
    for (reason, text) in [
        (WaitReason::RequestLimit, "the job's limit of 500 requests a second"),
        (WaitReason::BandwidthLimit, "the job's limit of 200.0 MiB a second"),
        (WaitReason::SlowDown, "throttled: 14 requests were asked to slow down"),
        (WaitReason::Retry, "18 requests failed and are tried again after a pause"),
        (WaitReason::Lease, "agents wait for the server before they write"),
        (WaitReason::Listing, "listing: a page of the source takes 500 ms"),
        (WaitReason::RequestSlots, "requests in flight: as many as may be"),
        (
            WaitReason::Memory,
            "agents hold as many bytes in memory as they may; more agents would help",
        ),
    ] {
        assert_eq!(said(&view, &since(reason, 300)), text);
    }
    // A wait that is short beside the requests themselves limits nothing.
    let answers = "the answers of S3: 2 requests are in flight, and one takes 211 ms";
    assert_eq!(said(&view, &since(WaitReason::RequestLimit, 1)), answers);
}

#[test]
fn an_endpoint_that_throttles_is_named() {
    let mut view = view();
    let load = |endpoint: &str, allowed| EndpointLoad {
        endpoint: endpoint.parse().unwrap(),
        in_flight: 3,
        allowed,
        most: 256,
    };
    let loads = vec![load("cnn1", 256), load("usw2", 32)];
    view.agents[0].activity = Ok(Activity { loads, ..Activity::default() });
    let text = "throttled: usw2 asks to slow down; 32 of 256 requests may be in flight";
    assert_eq!(said(&view, &Since::default()), text);
}

#[test]
fn agents_are_missed_where_ranges_wait() {
    let mut view = view();
    view.strips[0].states = states("dhhww");
    let few = "too few agents: 4 ranges wait, and agents hold as much as they take";
    view.free_places = 0;
    assert_eq!(said(&view, &since(WaitReason::Listing, 300)), few);
    view.free_places = 3;
    assert!(said(&view, &since(WaitReason::Listing, 300)).starts_with("listing"));
    view.agents.clear();
    view.free_places = 0;
    let elsewhere = "agents are at other runs and hold as much as they take";
    assert_eq!(said(&view, &Since::default()), elsewhere);
    view.connected_agents = 0;
    assert_eq!(said(&view, &Since::default()), "no agent is connected");
}

#[test]
fn an_agent_that_started_anew_has_no_difference() {
    let some = |seconds, copied| Activity {
        time: Duration::from_secs(seconds),
        copied,
        ..Activity::default()
    };
    assert_eq!(between(&some(5, 2), &some(9, 7)), Some(some(4, 5)));
    assert_eq!(between(&some(5, 2), &some(1, 0)), None);
    assert_eq!(between(&some(1, 9), &some(5, 2)), None);
    assert_eq!(agent("a", 1).held, 1);
}
