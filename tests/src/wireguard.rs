//! WireGuard between two namespaces.

use std::process::Command;

use anyhow::Result;

use crate::namespace::{Namespace, run};

/// An end of a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct WireGuardEnd<'a> {
    /// Namespace of the interface.
    pub namespace: &'a Namespace,
    /// Name of the interface.
    pub name: &'a str,
    /// Address at which the other end reaches this one.
    pub endpoint: &'a str,
    /// Networks that the other end may use, as `wg` takes them.
    pub allowed: &'a str,
}

/// Adds the interfaces of both ends, which are down.
pub fn connect(ends: [WireGuardEnd<'_>; 2]) -> Result<()> {
    let key = |command: &str, input: &str| {
        run(Command::new("sh").args(["-c", &format!("echo '{input}' | wg {command}")]))
    };
    let secrets = [key("genkey", "")?, key("genkey", "")?];
    for (at, end) in ends.iter().enumerate() {
        let WireGuardEnd { namespace, name, allowed, .. } = end;
        namespace.ip(&[format!("link add {name} type wireguard")])?;
        let (secret, peer) = (&secrets[at], key("pubkey", &secrets[1 - at])?);
        let endpoint = ends[1 - at].endpoint;
        let set = format!(
            "echo '{secret}' | wg set {name} private-key /proc/self/fd/0 listen-port 51820 peer '{peer}' \
             allowed-ips {allowed} endpoint {endpoint}:51820"
        );
        run(namespace.command("sh").args(["-c", &set]))?;
    }
    Ok(())
}
