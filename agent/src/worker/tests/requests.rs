//! What each kind of work costs in requests, counted by the server: the numbers that the design promises.

use std::collections::BTreeMap;

use s3sync_lab::{Capabilities, Fault, Faults, Object, Rule, When};

use super::sockets::{BUCKET, Sockets};
use super::*;

const MIB: usize = 1024 * 1024;

/// Sizes on both sides of every limit that one GET and one PUT have, up to 8 MiB.
const SIZES: [usize; 8] =
    [0, 1, 4096, 256 * 1024, 256 * 1024 + 1, 5 * MIB - 1, 5 * MIB + 1, 8 * MIB];

/// Requests by S3's names of them, at the source and at the destination.
type Requests = [BTreeMap<String, u64>; 2];

impl Sockets {
    /// With the settings of the product, and buckets of which everything is learned.
    async fn learned(destination: Capabilities) -> Self {
        let mut sockets = Self::new(Capabilities::default(), destination).await;
        sockets.bench.engine = Engine::new(Settings::default());
        sockets.learn().await;
        sockets
    }

    async fn learn(&mut self) {
        self.lab.endpoint("a").seed(BUCKET, "from/learned", "what the buckets can");
        self.run().await;
    }

    fn seed_sizes(&self, seed: usize) -> u64 {
        for size in SIZES {
            self.lab.endpoint("a").seed(BUCKET, format!("from/{size}"), pattern(seed, size));
        }
        SIZES.len() as u64
    }

    /// What a run costs.
    async fn cost(&mut self) -> Requests {
        for endpoint in self.lab.endpoints() {
            endpoint.reset_counts();
        }
        self.run().await;
        ["a", "b"].map(|name| {
            let counts = self.lab.endpoint(name).counts();
            counts.by_operation().into_iter().map(|(name, n)| (name.to_owned(), n)).collect()
        })
    }
}

fn requests<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.map(|(name, count)| (name.to_owned(), count)).into()
}

const LIST: (&str, u64) = ("ListObjectsV2", 1);

#[tokio::test]
async fn a_copied_object_costs_one_get_and_one_put_and_one_in_step_nothing() {
    let mut sockets = Sockets::learned(Capabilities::default()).await;
    let n = sockets.seed_sizes(1);
    let copied = [requests([LIST, ("GetObject", n)]), requests([LIST, ("PutObject", n)])];
    assert_eq!(sockets.cost().await, copied);
    assert_eq!(sockets.cost().await, [requests([LIST]), requests([LIST])], "in step");
    // Written over, which holds another condition.
    sockets.seed_sizes(2);
    let n = n - 1; // No bytes are equal to no bytes.
    let copied = [requests([LIST, ("GetObject", n)]), requests([LIST, ("PutObject", n)])];
    assert_eq!(sockets.cost().await, copied);
}

#[tokio::test]
async fn without_conditional_writes_each_copy_costs_one_head_more() {
    let ignores = Capabilities { ignore_conditions: true, ..Capabilities::default() };
    let mut sockets = Sockets::learned(ignores).await;
    let n = sockets.seed_sizes(1);
    let reads = requests([LIST, ("GetObject", n), ("HeadObject", n)]);
    assert_eq!(sockets.cost().await, [reads, requests([LIST, ("PutObject", n)])]);
    assert_eq!(sockets.cost().await, [requests([LIST]), requests([LIST])], "in step");
}

#[tokio::test]
async fn inside_s3_a_copy_costs_one_request() {
    let mut sockets = Sockets::new(Capabilities::default(), Capabilities::default()).await;
    sockets.bench.engine = Engine::new(Settings::default());
    sockets.one_place = true;
    sockets.learn().await;
    let n = sockets.seed_sizes(1);
    // Both listings are of one server; an object without bytes may be a redirect, which a copy would leave out.
    let list = ("ListObjectsV2", 2);
    let copied = requests([list, ("CopyObject", n), ("HeadObject", 1)]);
    assert_eq!(sockets.cost().await, [copied, requests([])]);
    assert_eq!(sockets.cost().await, [requests([list]), requests([])], "in step");
}

#[tokio::test]
async fn where_etags_cannot_be_compared_an_object_in_step_costs_one_head() {
    let opaque = Capabilities { opaque_etags: true, ..Capabilities::default() };
    let mut sockets = Sockets::learned(opaque).await;
    let n = sockets.seed_sizes(1);
    // And one of the object that was there before.
    let writes = requests([LIST, ("PutObject", n), ("HeadObject", 1)]);
    assert_eq!(sockets.cost().await, [requests([LIST, ("GetObject", n)]), writes]);
    let asked = [requests([LIST]), requests([LIST, ("HeadObject", n + 1)])];
    assert_eq!(sockets.cost().await, asked, "in step");
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_costs_one_head_and_no_byte_again() {
    for opaque_etags in [false, true] {
        // The repeated completion meets the object that the first one made: by its condition, or as an upload that is gone.
        for conditions_first in [false, true] {
            let server = Capabilities { opaque_etags, conditions_first, ..Capabilities::default() };
            let mut sockets = Sockets::new(Capabilities::default(), server).await;
            sockets.learn().await;
            let in_parts = Object::new(pattern(1, IN_PARTS)).in_parts(200 * 1024);
            sockets.lab.endpoint("a").seed_object(BUCKET, "from/in-parts", in_parts);
            let destination = sockets.lab.endpoint("b");
            let lost = Rule::of("CompleteMultipartUpload", Fault::ResetAfter, When::Nth(1));
            destination.set_faults(Faults::new(1, vec![lost]));
            let what = format!("{opaque_etags} {conditions_first}");
            // The source is looked at before, twice for its layout, and after, since the write may have been overtaken.
            let reads = requests([LIST, ("GetObject", 3), ("HeadObject", 3)]);
            // Where ETags cannot be compared, that of the object that was there before is asked about.
            let heads = 1 + u64::from(opaque_etags);
            let writes = requests([
                LIST,
                ("CreateMultipartUpload", 1),
                ("UploadPart", 3),
                ("CompleteMultipartUpload", 2),
                ("HeadObject", heads),
            ]);
            assert_eq!(sockets.cost().await, [reads, writes], "{what}");
            let mut asked = requests([LIST]);
            asked.extend(opaque_etags.then(|| ("HeadObject".to_owned(), heads)));
            assert_eq!(sockets.cost().await, [requests([LIST]), asked], "{what}: it is in step");
            assert_eq!(destination.open_uploads(BUCKET), [], "{what}");
        }
    }
}

#[tokio::test]
async fn tags_cost_one_request_where_there_are_some() {
    let mut sockets = Sockets::learned(Capabilities::default()).await;
    let tagged = Object::new("tagged").with_tag("k", "v");
    sockets.lab.endpoint("a").seed_object(BUCKET, "from/tagged", tagged);
    let reads = requests([LIST, ("GetObject", 1), ("GetObjectTagging", 1)]);
    assert_eq!(sockets.cost().await, [reads, requests([LIST, ("PutObject", 1)])]);
}

#[tokio::test]
async fn a_thousand_keys_in_step_cost_two_listings() {
    let mut sockets = Sockets::new(Capabilities::default(), Capabilities::default()).await;
    for n in 0..2_500 {
        for (name, prefix) in [("a", "from/"), ("b", "to/x/")] {
            sockets.lab.endpoint(name).seed(BUCKET, format!("{prefix}{n:04}"), "same");
        }
    }
    let lists = requests([("ListObjectsV2", 3)]);
    assert_eq!(sockets.cost().await, [lists.clone(), lists]);
}
