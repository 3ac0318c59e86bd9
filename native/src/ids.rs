//! Positions in tables, one type for each table, so that they cannot be mixed up.

use pyo3::prelude::*;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromPyObject, IntoPyObject,
        )]
        #[pyo3(transparent)]
        pub struct $name(pub u32);

        impl $name {
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id! {
    /// Position of a model (or of a feedback's scope) in the table of the join's state.
    ModelId
}
id! {
    /// Position of a deployment in the table of the join's state.
    DeploymentId
}
id! {
    /// Position of an answer in the table of the join's state.
    AnswerId
}
id! {
    /// Position of a truth in the table of the join's state.
    TruthId
}
id! {
    /// Position of an outcome in the delta accumulator.
    OutcomeId
}
id! {
    /// Position of a plan in the delta accumulator.
    PlanId
}
id! {
    /// Position of a label in the delta accumulator.
    LabelId
}
