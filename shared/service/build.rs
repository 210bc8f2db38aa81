//! Sets `ICEPRESS_VERSION`: the crate's version, and for release builds the revision of the checkout that they are made
//! of. No git is needed; without a checkout, as from an archive, there is no revision.
//!
//! Other builds have none, so that a commit that changes no code builds nothing anew. `ICEPRESS_REVISION` goes before
//! all that, for builds in a container that is not given the checkout's history.
#![allow(
    clippy::disallowed_methods,
    reason = "a build script is told everything by variables"
)]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Digits of a revision that are shown.
const SHOWN: usize = 10;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ICEPRESS_REVISION");
    let number = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match revision() {
        Some(revision) => format!("{number}+{revision}"),
        None => number,
    };
    println!("cargo::rustc-env=ICEPRESS_VERSION={version}");
}

fn revision() -> Option<String> {
    if let Ok(given) = env::var("ICEPRESS_REVISION") {
        let is_fit = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let given: String = given.trim().chars().filter(is_fit).take(40).collect();
        return (!given.is_empty()).then_some(given);
    }
    if env::var("PROFILE").ok()? != "release" {
        return None;
    }
    let workspace = Path::new(&env::var("CARGO_MANIFEST_DIR").ok()?).join("../..");
    let commit = commit_of(&workspace.join(".git"))?;
    let is_hash = commit.len() >= SHOWN && commit.chars().all(|c| c.is_ascii_hexdigit());
    is_hash.then(|| commit[..SHOWN].to_owned())
}

/// The commit that a checkout is at, from the files of its repository.
fn commit_of(git: &Path) -> Option<String> {
    let folder = folder_of(git)?;
    let head = read(&folder.join("HEAD"))?;
    let Some(reference) = head.strip_prefix("ref: ") else {
        return Some(head);
    };
    // A worktree has its own HEAD, and its branches elsewhere.
    let common = match read(&folder.join("commondir")) {
        Some(common) => folder.join(common),
        None => folder,
    };
    read(&common.join(reference)).or_else(|| {
        let packed = read(&common.join("packed-refs"))?;
        let line = packed
            .lines()
            .find(|line| line.ends_with(&format!(" {reference}")))?;
        Some(line.split(' ').next()?.to_owned())
    })
}

/// The repository: `.git` itself, or the folder that it names in a worktree or a submodule.
fn folder_of(git: &Path) -> Option<PathBuf> {
    if git.is_dir() {
        return Some(git.to_owned());
    }
    let named = PathBuf::from(read(git)?.strip_prefix("gitdir: ")?);
    Some(match git.parent() {
        Some(beside) => beside.join(named),
        None => named,
    })
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    // A file that is not there would be taken as changed at each build.
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text.trim().to_owned())
}
