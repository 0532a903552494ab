//! Which name led to which learned address: exact, by name, kept beside the kernel's table, which
//! knows addresses alone.
//!
//! The kernel decides; this table explains, and says what can be taken away again: see
//! [`refresh_tracker`]. Losing it takes nothing from anybody.
//!
//! [`learning`] keeps it from what the kernel reports, [`resolution`] asks ahead of the clients.

pub mod answer;
mod file;
pub mod learning;
pub mod refresh_tracker;
pub(crate) mod resolution;
mod table;

pub use file::{FILE_NAME, Lives, SavedNames, load, save, set_aside, to_text};
pub use table::{Binding, Names};
