//! Values of metrics as they are recorded, until somebody reads them or takes them away.

use std::collections::BTreeMap;

use crate::catalogue::{Dimension, Kind, Metric};

/// By what one value of a metric is told apart from its others, in the order of [`Dimension`].
pub type Labels = BTreeMap<Dimension, String>;

/// What a metric came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a counter: by how much it grew.
    Sum(f64),
    /// Of a gauge: what it stands at.
    Level(f64),
    /// Of a histogram.
    Measured(Measured),
}

/// Measurements.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// How many fell below each bound and not below the one before; the last are those above all bounds.
    pub below: Vec<u64>,
    /// Their sum.
    pub sum: f64,
    /// The last [`MOST_SAMPLES`] themselves.
    pub samples: Vec<f64>,
}

/// Measurements that are kept one by one: as many as a document of CloudWatch takes for one metric.
pub const MOST_SAMPLES: usize = 100;

/// All values, in a fixed order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(BTreeMap<(Metric, Labels), Value>);

impl Values {
    /// Counts.
    pub(crate) fn add<const N: usize>(
        &mut self,
        metric: Metric,
        labels: [(Dimension, &str); N],
        amount: f64,
    ) {
        debug_assert_eq!(metric.describe().kind, Kind::Counter, "{metric:?}");
        match self.value(metric, labels, Value::Sum(0.0)) {
            Value::Sum(sum) => *sum += amount,
            Value::Level(_) | Value::Measured(_) => {}
        }
    }

    /// Says what a gauge stands at.
    pub(crate) fn set<const N: usize>(
        &mut self,
        metric: Metric,
        labels: [(Dimension, &str); N],
        level: f64,
    ) {
        debug_assert_eq!(metric.describe().kind, Kind::Gauge, "{metric:?}");
        *self.value(metric, labels, Value::Level(level)) = Value::Level(level);
    }

    /// Says what a gauge stands at, where that is more than another said.
    pub(crate) fn raise<const N: usize>(
        &mut self,
        metric: Metric,
        labels: [(Dimension, &str); N],
        level: f64,
    ) {
        debug_assert_eq!(metric.describe().kind, Kind::Gauge, "{metric:?}");
        match self.value(metric, labels, Value::Level(level)) {
            Value::Level(stands) => *stands = stands.max(level),
            Value::Sum(_) | Value::Measured(_) => {}
        }
    }

    /// Adds a measurement.
    pub(crate) fn measure(&mut self, metric: Metric, measured: f64) {
        let Kind::Histogram(bounds) = metric.describe().kind else {
            debug_assert!(false, "{metric:?} is no histogram");
            return;
        };
        let none = Measured {
            below: vec![0; bounds.len() + 1],
            ..Measured::default()
        };
        match self.value(metric, [], Value::Measured(none)) {
            Value::Measured(all) => {
                let place = bounds.iter().position(|bound| measured <= *bound);
                all.below[place.unwrap_or(bounds.len())] += 1;
                all.sum += measured;
                if all.samples.len() == MOST_SAMPLES {
                    all.samples.remove(0);
                }
                all.samples.push(measured);
            }
            Value::Sum(_) | Value::Level(_) => {}
        }
    }

    fn value<const N: usize>(
        &mut self,
        metric: Metric,
        labels: [(Dimension, &str); N],
        first: Value,
    ) -> &mut Value {
        let labels: Labels = labels
            .into_iter()
            .map(|(dimension, value)| (dimension, value.to_owned()))
            .collect();
        self.0.entry((metric, labels)).or_insert(first)
    }

    /// The values of one metric.
    pub fn of(&self, metric: Metric) -> impl Iterator<Item = (&Labels, &Value)> {
        self.0
            .iter()
            .filter(move |((of, _), _)| *of == metric)
            .map(|((_, labels), value)| (labels, value))
    }

    /// The values of one metric, told apart by these dimensions alone.
    pub(crate) fn by(&self, metric: Metric, dimensions: &[Dimension]) -> BTreeMap<Labels, Value> {
        let mut together: BTreeMap<Labels, Value> = BTreeMap::new();
        for (labels, value) in self.of(metric) {
            let mut labels = labels.clone();
            labels.retain(|dimension, _| dimensions.contains(dimension));
            match together.entry(labels) {
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(value.clone());
                }
                std::collections::btree_map::Entry::Occupied(mut taken) => {
                    taken.get_mut().with(value);
                }
            }
        }
        together
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Value {
    /// Puts another of the same metric to it.
    fn with(&mut self, other: &Self) {
        match (self, other) {
            (Self::Sum(one), Self::Sum(other)) => *one += other,
            (Self::Level(one), Self::Level(other)) => *one = one.max(*other),
            (Self::Measured(one), Self::Measured(other)) => {
                for (one, other) in one.below.iter_mut().zip(&other.below) {
                    *one += other;
                }
                one.sum += other.sum;
                one.samples.extend(&other.samples);
                let most = one.samples.len().saturating_sub(MOST_SAMPLES);
                one.samples.drain(..most);
            }
            // Values of one metric are all of its kind.
            _ => {}
        }
    }
}
