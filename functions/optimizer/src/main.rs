//! The optimizer function: fed by the task queues, it rewrites groups of files and commits what is complete.

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
    let component = Component::Optimizer;
    let metrics = FunctionMetrics::new(environment.deployment.as_deref(), component, &ambient);
    let observer = metrics.observer();
    let context = open::cloud(environment, &aws, worker, ambient, observer).await?;
    let sign = SignOfLife::new(component);
    run(service_fn(|event: LambdaEvent<SqsEvent>| {
        let (context, ledger, sign, metrics) = (&context, aws.ledger(), &sign, &metrics);
        async move {
            let _told_at_its_end = metrics.invocation();
            let before = ledger.totals();
            sign.give(context).await;
            let deadline = open::deadline_of(context, event.context.deadline);
            let response =
                icepress_batch::handle(context, &*context.queue, event.payload, deadline).await;
            info!(requests = ?ledger.since(&before), "requests to AWS");
            Ok::<SqsBatchResponse, Error>(response)
        }
    }))
    .await
}
