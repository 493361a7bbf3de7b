//! PlanJob: checks what is to be planned, and passes on what is found as fast as it is read.

use s3sync_proto::pb::v1 as pb;
use s3sync_proto::status::{reason, status};
use s3sync_proto::wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tracing::Instrument as _;

use super::Context;
use super::status::{missing, refused, stopping};
use crate::plan::check;
use crate::survey::{News, NoPlan, Planning};

/// Messages that wait for the reader, each of up to half a MiB.
const BUFFER: usize = 2;

/// Answers PlanJob.
pub(super) async fn job(
    context: &Context,
    request: pb::PlanJobRequest,
    traceparent: String,
) -> Result<ReceiverStream<Result<pb::PlanJobResponse, Status>>, Status> {
    let pb::PlanJobRequest { name: text, job, differences } = request;
    let name = wire::job_name(&text)?;
    let catalogue = context.store.catalogue().await.map_err(refused)?;
    let spec = match job {
        Some(job) => {
            let spec = wire::job_spec(job)?;
            check::check_job(&name, &spec, &catalogue)?;
            spec
        }
        None => catalogue.jobs.get(&name).ok_or_else(|| missing(&text))?.spec.clone(),
    };
    let context = context.clone();
    let span = tracing::info_span!("plan", job = %name);
    let tasks = context.tasks.clone();
    let planning = Planning { context, catalogue, job: name, spec, traceparent, differences };
    let (sender, receiver) = mpsc::channel(BUFFER);
    tasks.spawn(serve(planning, sender).instrument(span));
    Ok(ReceiverStream::new(receiver))
}

async fn serve(planning: Planning, sender: mpsc::Sender<Result<pb::PlanJobResponse, Status>>) {
    let (news, mut newest) = mpsc::channel::<News>(1);
    let to_reader = sender.clone();
    let pass_on = async move {
        loop {
            let (plan, differences) = tokio::select! {
                found = newest.recv() => match found {
                    Some(found) => found,
                    None => return,
                },
                () = to_reader.closed() => break,
            };
            if to_reader.send(Ok(wire::planned_to(plan, differences))).await.is_err() {
                break;
            }
        }
        // The reader has gone, and with it whoever waits for answers.
        newest.close();
    };
    let (ended, ()) = tokio::join!(planning.run(news), pass_on);
    if let Err(error) = ended {
        // The reader may have gone; then nobody is to be told.
        drop(sender.send(Err(no_plan(error))).await);
    }
}

fn no_plan(error: NoPlan) -> Status {
    match error {
        NoPlan::Nobody(why) => status(Code::FailedPrecondition, reason::NO_ELIGIBLE_AGENT, why),
        NoPlan::Stopping => stopping(),
        NoPlan::Store(error) => refused(error),
    }
}
