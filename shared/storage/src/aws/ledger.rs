//! Every request to AWS that this process sends, by service and operation: what the bill counts, and what tests hold
//! the code to. Each try is one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef,
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::{interceptors::dyn_dispatch_hint, orchestrator::Metadata};

/// Requests by `Service.Operation`, as in `DynamoDB.GetItem`.
pub type RequestTotals = BTreeMap<String, u64>;

/// Counts the requests of every client that it is given to as an interceptor. Its clones are one.
#[derive(Debug, Clone, Default)]
pub struct RequestLedger(Arc<Mutex<RequestTotals>>);

impl RequestLedger {
    /// All requests so far.
    pub fn totals(&self) -> RequestTotals {
        self.locked().clone()
    }

    /// The requests since these `totals` were taken; kinds without any are left out.
    pub fn since(&self, totals: &RequestTotals) -> RequestTotals {
        self.locked()
            .iter()
            .map(|(kind, count)| (kind.clone(), count - totals.get(kind).copied().unwrap_or(0)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    fn locked(&self) -> MutexGuard<'_, RequestTotals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, kind: String) {
        *self.locked().entry(kind).or_insert(0) += 1;
    }
}

#[dyn_dispatch_hint]
impl Intercept for RequestLedger {
    fn name(&self) -> &'static str {
        "icepress-request-ledger"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(operation) = cfg.load::<Metadata>() {
            self.count(format!("{}.{}", operation.service(), operation.name()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_is_told_and_clones_are_one() {
        let ledger = RequestLedger::default();
        ledger.count("Glue.GetTables".to_owned());
        let before = ledger.totals();
        assert_eq!(ledger.since(&before), RequestTotals::new());
        ledger.clone().count("DynamoDB.GetItem".to_owned());
        ledger.count("Glue.GetTables".to_owned());
        assert_eq!(
            ledger.since(&before),
            RequestTotals::from([
                ("DynamoDB.GetItem".to_owned(), 1),
                ("Glue.GetTables".to_owned(), 1)
            ])
        );
        assert_eq!(ledger.totals()["Glue.GetTables"], 2);
    }
}
