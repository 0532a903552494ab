//! Records which name led to which learned address, since the kernel's table has addresses alone.
//!
//! The kernel decides. This table explains its decisions, and says what can be taken from an
//! address again: see [`refresh_tracker`]. Its loss takes nothing from any client.
//!
//! [`learning`] fills the table from the kernel's reports, [`resolution`] resolves names ahead of
//! the clients.

pub mod answer;
mod file;
pub mod learning;
pub mod refresh_tracker;
pub(crate) mod resolution;
pub mod seen;
mod table;
mod target;

pub use file::{FILE_NAME, Lives, SavedNames, load, save, set_aside, to_text};
pub use table::{Binding, Names};
pub use target::{is_target, key_of_target};
