//! The scheduler function: woken by a schedule, it sees which tables changed, plans, and queues tasks. What a tick has no
//! time for it hands out, and is woken again by the queue of errands.

use icepress_coordination::Component;
use icepress_metrics::FunctionMetrics;
use icepress_model::ambient::Ambient;
use icepress_service::{SignOfLife, open};
use icepress_storage::AwsEnvironment;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::Value;

mod event;

#[tokio::main]
async fn main() -> Result<(), Error> {
    open::start_logging();
    let environment = open::CloudEnvironment::read(&open::variables())?;
    let aws = AwsEnvironment::new();
    let ambient = Ambient::system();
    let worker = open::function_worker(&ambient);
    let component = Component::Scheduler;
    let metrics = FunctionMetrics::new(environment.deployment.as_deref(), component, &ambient);
    let observer = metrics.observer();
    let context = open::cloud(environment, &aws, worker, ambient, observer).await?;
    let sign = SignOfLife::new(component);
    run(service_fn(|event: LambdaEvent<Value>| {
        let (context, ledger, sign, metrics) = (&context, aws.ledger(), &sign, &metrics);
        async move {
            let _told_at_its_end = metrics.invocation();
            let before = ledger.totals();
            sign.give(context).await;
            let deadline = open::deadline_of(context, event.context.deadline);
            let answer = event::handle(context, event.payload, deadline).await?;
            let requests = ledger.since(&before);
            Ok::<Value, Error>(event::with_requests(answer, &requests))
        }
    }))
    .await
}
