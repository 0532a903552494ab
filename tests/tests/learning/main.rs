//! What clients are answered, and that they reach what they have learned from it: first packets,
//! resolvers of every place, over either transport, forgeries, names of no service, targets of service
//! records.

mod accomplices;
mod clients;
mod cold_start;
mod first_packet;
mod forgeries;
mod refused;
mod resolution;
mod resolvers;
mod resolvers_tcp;
mod targets;
