//! Steps that are wrong on purpose: copies of what `transition` or a caller does, with one guard taken out. The model has
//! to tell each of them from the right step, else it proves nothing.

/// One guard taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutation {
    /// A write under an old epoch is accepted.
    LeaseUnchecked,
    /// A lease is taken over without raising the epoch.
    EpochReused,
    /// The digest is written before the marks.
    DigestBeforeMarks,
    /// A conclusion clears marks that came after it looked.
    MarkClearedByConclusion,
    /// The start of a process clears marks that came after the look.
    MarkClearedByStart,
    /// The end of a process clears marks that came while it ran.
    MarkClearedByEnd,
    /// A row is forgotten although its table was marked again.
    RowForgottenUnseen,
    /// A task changes hands under one attempt.
    AttemptReused,
    /// The result of an attempt is accepted that another has taken over from.
    OldAttemptAccepted,
    /// A commit changes hands under one claim.
    ClaimReused,
    /// A commit is given back by a claim that another has taken over from.
    OldClaimGivenBack,
    /// The process is ended, and its table released, before the swap.
    EndedBeforeSwap,
    /// Groups are committed whose inputs are gone.
    CommitUnvalidated,
    /// The swap is not compared with what was loaded.
    SwapUncompared,
    /// What an unheard swap may have committed is deleted.
    UnknownOutcomeDeletes,
    /// The mark of a table that nobody here evaluates is cleared when it is handed over.
    MarkClearedByHandOver,
    /// That there was nothing to do is believed of a table that was marked since.
    OldFindingTaken,
    /// Whether a table was marked since is asked of the marks that its row has seen, which a wait raises.
    FindingHeldAgainstSeenMarks,
    /// A plan of before the newest mark clears that mark.
    MarkClearedByOldPlan,
    /// What an optimizer found out is made something of again and again.
    FindingKept,
    /// What other writers committed between the plan and the commit is not looked at.
    RebaseNotLookedAt,
    /// Files of groups that were not accepted are deleted without a look whether they are live.
    UnusedUnchecked,
}
