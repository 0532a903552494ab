//! The built-in endpoint catalogue: services, their rules, and where each came from.
