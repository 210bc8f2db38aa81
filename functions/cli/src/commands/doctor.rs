//! `icepress doctor`: is everything as it should be?

use icepress_coordination::{Finding, Severity};
use icepress_service::{VERSION, doctor};
use serde_json::json;

use crate::{
    failure::{Ending, Failure},
    render::Output,
    session::Session,
};

/// Looks at everything, and prints a line for each thing, the worst last.
pub(super) async fn doctor(session: &Session, output: Output) -> Result<Ending, Failure> {
    let mut findings = vec![Finding::well("icepress", format!("version {VERSION}"))];
    findings.extend(session.warnings.iter().map(|warning| {
        Finding::doubt(
            "configuration",
            warning,
            "correct it, so that it does what you meant",
        )
    }));
    findings.extend(session.unlocked.iter().map(|catalog| {
        Finding::doubt(
            format!("catalog {catalog}"),
            "is written without a commit lock",
            "fine unless other writers use Iceberg's DynamoDbLockManager: then give it the same lock.table",
        )
    }));
    findings.extend(doctor::examine(&session.context).await);
    findings.sort_by_key(|finding| finding.severity);
    let worst = findings.iter().map(|finding| finding.severity).max();
    output.print(&json!({ "findings": findings, "worst": worst }), || {
        findings.iter().map(line).collect()
    })?;
    Ok(match worst {
        Some(Severity::Wrong) => Ending::SomeFailed,
        _ => Ending::Well,
    })
}

fn line(finding: &Finding) -> String {
    let word = match finding.severity {
        Severity::Well => "well ",
        Severity::Doubt => "doubt",
        Severity::Wrong => "WRONG",
    };
    let mut line = format!("{word}  {}: {}\n", finding.subject, finding.seen);
    if let Some(advice) = &finding.advice {
        line.push_str(&format!("       {advice}\n"));
    }
    line
}
