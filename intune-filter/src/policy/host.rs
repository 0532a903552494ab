//! Converts a policy to the form of the host build of the kernel's logic.

use intune_filter_ebpf::host::{self, Trie};

use super::{Policy, Prefix, octets_of_key::Octets};

impl From<&Policy> for host::PolicyMaps {
    fn from(policy: &Policy) -> Self {
        Self {
            clients4: trie(&policy.clients4),
            clients6: trie(&policy.clients6),
            nets4: trie(&policy.nets4),
            nets6: trie(&policy.nets6),
            answers4: trie(&policy.answers4),
            answers6: trie(&policy.answers6),
            ports: policy.ports.to_vec(),
            port_classes: policy.port_classes.clone(),
            edges: policy.edges.clone(),
            globs: policy.globs.clone(),
            servers: policy.servers.clone(),
            group_macs: policy.group_macs.iter().copied().collect(),
            source_checks: policy
                .source_checks
                .iter()
                .map(|(zone, passes)| (*zone as u16, *passes))
                .collect(),
            gateway_ports: policy.gateway_ports.iter().copied().collect(),
            settings: policy.settings,
        }
    }
}

fn trie<K: Octets, V: Copy>(prefixes: &[Prefix<K, V>]) -> Trie<V> {
    let mut trie = Trie::default();
    for prefix in prefixes {
        trie.insert(prefix.length, &prefix.key.octets(), prefix.value);
    }
    trie
}
