//! What a function reads from its environment, once, at start.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use icepress_catalog::config::{
    CatalogProperties, Configuration, ConfigurationError, unknown_field,
};
use icepress_coordination::limits::Limits;
use icepress_model::{BucketCount, CatalogName};
use icepress_planner::PlanDefaults;
use thiserror::Error;

use crate::{MaintainDefaults, Modes, Times};

/// A function's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudEnvironment {
    /// `ICEPRESS_STATE_TABLE`: the DynamoDB table of leases, table state, processes and tasks.
    pub state_table: String,
    /// `ICEPRESS_BUCKETS`: how many buckets, and so queues, there are.
    pub buckets: BucketCount,
    /// `ICEPRESS_QUEUE_URL_TEMPLATE`: the queues' URL with `{bucket}` for the bucket's number.
    pub queue_url_template: String,
    /// `ICEPRESS_ERRANDS_URL`, where it is there: the URL of the queue of what a tick hands to further runs of the scheduler.
    pub errands_url: Option<String>,
    /// `ICEPRESS_CLEANER_URL`, where it is there: the URL of the queue of the function that may delete.
    pub cleaner_url: Option<String>,
    /// `ICEPRESS_PAYLOAD_LOCATION`: where large plans and results go, as `s3://bucket/prefix`.
    pub payload_location: String,
    /// `ICEPRESS_CATALOGS`: for each catalog its Iceberg properties.
    pub catalogs: BTreeMap<CatalogName, CatalogProperties>,
    /// `ICEPRESS_MEMORY_MB` or else `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, where one is there: the function's memory.
    pub memory_mebibytes: Option<u64>,
    /// `ICEPRESS_MEMORY_MB`, `ICEPRESS_OPTIMIZER_MEMORY_MB` or `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, the first that is there:
    /// the memory of an optimizer, whether this is one or plans for them.
    pub optimizer_memory_mebibytes: Option<u64>,
    /// `ICEPRESS_OPTIMIZER_SECONDS`, where it is there: how long one invocation of an optimizer lasts. Whoever plans makes
    /// no larger groups than that allows.
    pub optimizer_limit: Option<Duration>,
    /// `ICEPRESS_TIMES`, where it is there: how long leases, claims and rests last, as `{"lease": 120}`.
    pub times: Times,
    /// `ICEPRESS_LIMITS`, where it is there: quotas, maintenance windows and priorities.
    pub limits: Limits,
    /// `ICEPRESS_PLAN`, where it is there: how the tables of a catalog or database are planned.
    pub plan: PlanDefaults,
    /// `ICEPRESS_MAINTAIN`, where it is there: which upkeep is done by itself.
    pub maintain: MaintainDefaults,
    /// `ICEPRESS_MODE`, where it is there: which tables are only observed.
    pub modes: Modes,
    /// `ICEPRESS_DEPLOYMENT`, where it is there: the name under which metrics are told. Without it none are.
    pub deployment: Option<String>,
}

/// A variable that is missing or not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvironmentError {
    /// It is not set.
    #[error("environment variable {name} is not set: it should be {shape}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it should look like.
        shape: &'static str,
    },
    /// It makes no sense. What it is is not said: there may be a secret in it, put there by mistake even.
    #[error("environment variable {name} is wrong{problem}: it should be {shape}")]
    Wrong {
        /// The variable.
        name: &'static str,
        /// Where, and what no one knows there; may be empty.
        problem: String,
        /// What it should look like.
        shape: &'static str,
    },
    /// A catalog in it is not right.
    #[error(transparent)]
    Catalog(#[from] ConfigurationError),
}

const STATE_TABLE: (&str, &str) = (
    "ICEPRESS_STATE_TABLE",
    "the name of the DynamoDB state table",
);
const BUCKETS: (&str, &str) = ("ICEPRESS_BUCKETS", "the number of buckets, 1 or more");
const QUEUE_URL_TEMPLATE: (&str, &str) = (
    "ICEPRESS_QUEUE_URL_TEMPLATE",
    "the queues' URL with {bucket} for the bucket's number",
);
const PAYLOAD_LOCATION: (&str, &str) = (
    "ICEPRESS_PAYLOAD_LOCATION",
    "where large plans go, as s3://bucket/prefix",
);
const CATALOGS: (&str, &str) = (
    "ICEPRESS_CATALOGS",
    "a JSON object of catalogs, as {\"glue\":{\"type\":\"glue\"}}",
);
const LIMITS: (&str, &str) = (
    "ICEPRESS_LIMITS",
    "a JSON object of limits, as {\"catalog\":{\"glue\":{\"max-dollars-a-month\":100}}}",
);
const PLAN: (&str, &str) = (
    "ICEPRESS_PLAN",
    "a JSON object of defaults for plans, as {\"catalog\":{\"glue\":{\"min-input-files\":10}}}",
);
const MAINTAIN: (&str, &str) = (
    "ICEPRESS_MAINTAIN",
    "a JSON object of what is done by itself, as {\"catalog\":{\"glue\":{\"expire\":true}}}",
);
const MODE: (&str, &str) = (
    "ICEPRESS_MODE",
    "observe or maintain, or a JSON object as {\"default\":\"observe\",\"table\":{\"glue.sales.*\":\"maintain\"}}",
);
const OPTIMIZER_MEMORY: (&str, &str) = (
    "ICEPRESS_OPTIMIZER_MEMORY_MB",
    "an optimizer's memory in MiB",
);
const OPTIMIZER_SECONDS: (&str, &str) = (
    "ICEPRESS_OPTIMIZER_SECONDS",
    "how many seconds one invocation of an optimizer lasts, 1 or more",
);
const MEMORY: (&str, &str) = ("ICEPRESS_MEMORY_MB", "the function's memory in MiB");
const TIMES: (&str, &str) = (
    "ICEPRESS_TIMES",
    "a JSON object of whole seconds, 1 or more, for some of lease, lease_guard, claim, commit, check, first_backoff, \
     longest_backoff, connect, answer and request",
);

impl CloudEnvironment {
    /// Its catalogs, as a command reads them: the only one, or the one called `default`, is meant where none is named.
    pub fn configuration(&self) -> Configuration {
        let catalogs = self.catalogs.clone();
        let mut names = catalogs.keys();
        let default_catalog = match (names.next(), names.next()) {
            (Some(only), None) => only.clone(),
            _ => CatalogName::from("default"),
        };
        Configuration {
            catalogs,
            default_catalog,
            settings: toml::Table::new(),
            settings_origin: String::new(),
            warnings: self
                .catalogs
                .values()
                .flat_map(CatalogProperties::warnings)
                .collect(),
        }
    }

    /// Reads the variables.
    pub fn read(variables: &BTreeMap<String, String>) -> Result<Self, EnvironmentError> {
        let queue_url_template = required(variables, QUEUE_URL_TEMPLATE)?;
        if !queue_url_template.contains("{bucket}") {
            return Err(wrong(QUEUE_URL_TEMPLATE));
        }
        let payload_location = required(variables, PAYLOAD_LOCATION)?;
        if !payload_location.starts_with("s3://") {
            return Err(wrong(PAYLOAD_LOCATION));
        }
        let buckets = required(variables, BUCKETS)?;
        let bucket_count: NonZeroU32 = buckets.parse().map_err(|_| wrong(BUCKETS))?;
        let catalogs = required(variables, CATALOGS)?;
        let named = |(name, shape): (&'static str, &'static str)| {
            let memory = variables.get(name);
            memory
                .map(|memory| memory.parse().map_err(|_| wrong((name, shape))))
                .transpose()
        };
        let own = named(MEMORY)?;
        let functions = named(("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", MEMORY.1))?;
        let optimizers = named(OPTIMIZER_MEMORY)?;
        let seconds = variables.get(OPTIMIZER_SECONDS.0);
        let maintain = variables
            .get(MAINTAIN.0)
            .filter(|maintain| !maintain.trim().is_empty());
        let mode = variables.get(MODE.0).map(|mode| mode.trim());
        let plan = variables.get(PLAN.0).filter(|plan| !plan.trim().is_empty());
        let limits = variables
            .get(LIMITS.0)
            .filter(|limits| !limits.trim().is_empty());
        Ok(Self {
            limits: limits
                .map(|limits| {
                    serde_json::from_str(limits).map_err(|error| wrong_json(LIMITS, &error))
                })
                .transpose()?
                .unwrap_or_default(),
            plan: plan
                .map(|plan| serde_json::from_str(plan).map_err(|error| wrong_json(PLAN, &error)))
                .transpose()?
                .unwrap_or_default(),
            maintain: maintain
                .map(|maintain| {
                    serde_json::from_str(maintain).map_err(|error| wrong_json(MAINTAIN, &error))
                })
                .transpose()?
                .unwrap_or_default(),
            modes: mode
                .filter(|mode| !mode.is_empty())
                .map(read_modes)
                .transpose()?
                .unwrap_or_default(),
            optimizer_limit: seconds
                .map(|seconds| {
                    let parsed: Result<NonZeroU32, _> = seconds.parse();
                    parsed.map_err(|_| wrong(OPTIMIZER_SECONDS))
                })
                .transpose()?
                .map(|seconds| Duration::from_secs(seconds.get().into())),
            state_table: required(variables, STATE_TABLE)?,
            buckets: BucketCount(bucket_count),
            queue_url_template,
            errands_url: variables
                .get("ICEPRESS_ERRANDS_URL")
                .filter(|url| !url.trim().is_empty())
                .cloned(),
            cleaner_url: variables
                .get("ICEPRESS_CLEANER_URL")
                .filter(|url| !url.trim().is_empty())
                .cloned(),
            payload_location,
            deployment: variables
                .get("ICEPRESS_DEPLOYMENT")
                .filter(|name| !name.trim().is_empty())
                .cloned(),
            catalogs: read_catalogs(&catalogs)?,
            memory_mebibytes: own.or(functions),
            optimizer_memory_mebibytes: own.or(optimizers).or(functions),
            times: Times::read(variables)?,
        })
    }
}

impl Times {
    /// What `ICEPRESS_TIMES` says; nothing where it is absent.
    pub fn read(variables: &BTreeMap<String, String>) -> Result<Self, EnvironmentError> {
        variables
            .get(TIMES.0)
            .map(|times| serde_json::from_str(times).map_err(|error| wrong_json(TIMES, &error)))
            .transpose()
            .map(Option::unwrap_or_default)
    }
}

fn read_modes(text: &str) -> Result<Modes, EnvironmentError> {
    // Of what is no mode only a slip is told: anything else may be something that was put there by mistake.
    let slip = |problem: String| {
        let is_slip = problem.contains("is no mode: did you mean");
        is_slip.then(|| EnvironmentError::Wrong {
            name: MODE.0,
            problem: format!(": {problem}"),
            shape: MODE.1,
        })
    };
    if text.starts_with('{') {
        return serde_json::from_str(text)
            .map_err(|error| slip(error.to_string()).unwrap_or_else(|| wrong_json(MODE, &error)));
    }
    text.parse()
        .map_err(|problem| slip(problem).unwrap_or_else(|| wrong(MODE)))
}

fn required(
    variables: &BTreeMap<String, String>,
    (name, shape): (&'static str, &'static str),
) -> Result<String, EnvironmentError> {
    match variables.get(name) {
        Some(value) if !value.trim().is_empty() => Ok(value.clone()),
        _ => Err(EnvironmentError::Missing { name, shape }),
    }
}

fn read_catalogs(json: &str) -> Result<BTreeMap<CatalogName, CatalogProperties>, EnvironmentError> {
    let written: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(json).map_err(|error| wrong_json(CATALOGS, &error))?;
    let catalogs = written.into_iter().map(|(name, values)| {
        let name = CatalogName(name);
        let properties = CatalogProperties::of(name.clone(), values).from(CATALOGS.0);
        properties.check()?;
        Ok((name, properties))
    });
    catalogs.collect()
}

fn wrong((name, shape): (&'static str, &'static str)) -> EnvironmentError {
    EnvironmentError::Wrong {
        name,
        problem: String::new(),
        shape,
    }
}

/// The words of the error itself would have the value in them where it is of another type than it should be.
fn wrong_json(
    (name, shape): (&'static str, &'static str),
    error: &serde_json::Error,
) -> EnvironmentError {
    let field = unknown_field(&error.to_string()).map(|field| format!(" ({field})"));
    EnvironmentError::Wrong {
        name,
        problem: format!(
            " at line {}, column {}{}",
            error.line(),
            error.column(),
            field.unwrap_or_default()
        ),
        shape,
    }
}

#[cfg(test)]
mod tests;
