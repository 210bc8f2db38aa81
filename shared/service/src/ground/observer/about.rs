//! What a notice is about, for fields of a log.

use icepress_model::{ProcessId, TableId, TaskId};

/// Table, process and task, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The table.
    pub table: Option<TableId>,
    /// The process.
    pub process: Option<ProcessId>,
    /// The task.
    pub task: Option<TaskId>,
}

impl About {
    /// About no table by itself.
    pub const NONE: Self = Self {
        table: None,
        process: None,
        task: None,
    };

    /// About a table.
    pub fn table(table: &TableId) -> Self {
        Self {
            table: Some(table.clone()),
            ..Self::NONE
        }
    }

    /// About a process.
    pub fn process(process: &ProcessId) -> Self {
        Self {
            process: Some(process.clone()),
            ..Self::NONE
        }
    }

    /// About a task, and so about its process.
    pub fn task(task: &TaskId) -> Self {
        Self {
            task: Some(task.clone()),
            ..Self::process(&task.process)
        }
    }

    /// The same, of that table.
    pub fn of(self, table: &TableId) -> Self {
        Self {
            table: Some(table.clone()),
            ..self
        }
    }
}
