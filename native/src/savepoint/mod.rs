//! The blocks of requests of a savepoint: the counterpart of `processor/domain/savepoint`.

mod kinds;
mod planes;
pub mod rows;
pub mod sorter;
