//! The cleaner function: fed by a queue of its own, it expires snapshots and deletes what nobody needs then. Its role alone may
//! delete.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use icepress_coordination::Component;
use icepress_metrics::FunctionMetrics;
use icepress_model::ambient::Ambient;
use icepress_service::{SignOfLife, open};
use icepress_storage::AwsEnvironment;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use tracing::info;

#[tokio::main]
async fn main() -> Result<(), Error> {
    open::start_logging();
    let environment = open::CloudEnvironment::read(&open::variables())?;
    let aws = AwsEnvironment::new();
    let ambient = Ambient::system();
    let worker = open::function_worker(&ambient);
    let component = Component::Cleaner;
    let metrics = FunctionMetrics::new(environment.deployment.as_deref(), component, &ambient);
    let observer = metrics.observer();
    let context = open::cloud_to_clean(environment, &aws, worker, ambient, observer).await?;
    let queue = context
        .cleaners
        .clone()
        .ok_or("environment variable ICEPRESS_CLEANER_URL is not set: it should be the URL of the cleaner's queue")?;
    let sign = SignOfLife::new(component);
    run(service_fn(|event: LambdaEvent<SqsEvent>| {
        let (context, queue, ledger, sign, metrics) =
            (&context, &queue, aws.ledger(), &sign, &metrics);
        async move {
            let _told_at_its_end = metrics.invocation();
            let before = ledger.totals();
            sign.give(context).await;
            let deadline = open::deadline_of(context, event.context.deadline);
            let response = icepress_batch::handle(context, &**queue, event.payload, deadline).await;
            info!(requests = ?ledger.since(&before), "requests to AWS");
            Ok::<SqsBatchResponse, Error>(response)
        }
    }))
    .await
}
