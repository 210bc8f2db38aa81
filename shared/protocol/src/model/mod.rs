//! For tests: a model of everything that is shared, whose whole state space is looked at (protocols.md, section 7).
//!
//! Its steps are the very functions that the stores run (`transition`), its properties the predicates of `invariants`:
//! the model is about the code that works, not about a drawing of it. Around them stand the callers, cut into steps that
//! are atomic for real: a scheduler that lists a database, compares, marks, notes its digest, looks at due tables, plans
//! and sends, or leaves evaluations and commits to optimizers; an optimizer that claims, works and reports; whoever commits;
//! another writer of the table; and everything that goes wrong: a crash between any two steps, messages that get lost or
//! come again, leases and claims that end while their holder works on (clocks disagree), a swap whose answer is lost before
//! it acts, after it, or long before it acts.
//!
//! Time is left out: a lease, a claim or a wait may be over at any moment that somebody looks, which is more than any
//! clock can do. Numbers that only grow (epochs, attempts, marks, …) are renumbered after every step such that their
//! order stays, so that a run may go on for ever in finitely many states.
//!
//! | file | holds |
//! |---|---|
//! | `world` | the state: what is stored, and what everybody remembers |
//! | `rows` | the state's rows as the stores' rows, and back |
//! | `canonical` | the renumbering |
//! | `actions` | who may do what next |
//! | `scheduler`, `elsewhere`, `optimizer`, `commit`, `environment` | what a step does |
//! | `mutations` | copies of steps that are wrong on purpose, to see that the model would tell |
//! | `upkeep` | a smaller model by itself: expiry, beside whatever may happen to a table |
//! | `explore` | the search, and which states lead to rest |

mod actions;
mod canonical;
mod commit;
mod elsewhere;
mod environment;
mod explore;
mod mutations;
mod optimizer;
mod rows;
mod scheduler;
mod tests;
mod upkeep;
mod world;
