//! What is said of metrics in files that people and other programs read, made of the catalogue: a document, a dashboard for CloudWatch, and
//! one for Grafana. `cargo run -p icepress-metrics --example papers` writes them; a test holds them against the catalogue.

mod cloud_watch;
mod grafana;
mod table;

/// A file that is made of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paper {
    /// Where it lies, from the root of the repository.
    pub path: &'static str,
    /// What is in it.
    pub text: String,
}

/// How the files are written anew.
pub const COMMAND: &str = "cargo run -p icepress-metrics --example papers";

/// All of them.
pub fn all() -> Vec<Paper> {
    vec![
        Paper {
            path: "infra/metrics.md",
            text: table::text(),
        },
        Paper {
            path: "infra/modules/dashboard/cloudwatch.json.tftpl",
            text: cloud_watch::template(),
        },
        Paper {
            path: "infra/dashboards/grafana.json",
            text: grafana::dashboard(),
        },
    ]
}

/// JSON as it stands in a file.
fn pretty(json: &serde_json::Value) -> String {
    // What is made of strings and numbers always has a text.
    format!("{json:#}\n")
}
