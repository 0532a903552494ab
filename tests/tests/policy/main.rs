//! Policies: checked, loaded, changed, confirmed, restored and revoked.

mod apply;
mod captures;
mod check;
mod configuration;
mod explain;
mod many_rules;
mod modes;
mod on_link;
mod random;
mod reload;
mod restore;
mod revocation;
mod revoked_transfers;
