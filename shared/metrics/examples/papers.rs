//! Writes what is said of metrics in files, anew from the catalogue.

use std::{fs, path::Path};

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for paper in icepress_metrics::papers::all() {
        let path = root.join(paper.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, paper.text)?;
    }
    Ok(())
}
