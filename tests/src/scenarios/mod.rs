//! Scenarios: what devices connect to while they enrol and stay managed, transcribed from documents
//! and public reports, never from the catalogue (`tests/scenarios/`).

mod fixture;
mod model;
mod scenario;
mod site;
mod step;
mod walk;

pub use fixture::{Fixture, Source};
pub use model::{Denial, Family, HostModel};
pub use scenario::Scenario;
pub use site::{Cloud, Region, Site};
pub use step::{Answers, Destination, Need, Step};
pub use walk::{Failure, addresses, walk};
