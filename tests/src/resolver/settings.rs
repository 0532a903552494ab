//! Settings of the resolvers that know nothing themselves: what they are asked, they ask dnsmasq.

use std::{net::IpAddr, path::Path};

/// Line of Knot Resolver once it has read its settings.
pub(super) const KNOT_READY: &str = "kresd listens";

/// Lines of unbound's section `server` by which it stays a test's process: it keeps its rights, writes no
/// file but its output, knows the names of tests, and validates nothing.
pub const UNBOUND_IN_A_TEST: &str = "  use-syslog: no
  logfile: \"\"
  username: \"\"
  chroot: \"\"
  directory: \"\"
  pidfile: \"\"
  do-daemonize: no
  module-config: iterator
  local-zone: test. nodefault";

/// Settings of unbound that listens on these addresses.
pub(super) fn unbound([v4, v6]: [IpAddr; 2]) -> String {
    format!(
        "server:
  interface: {v4}
  interface: {v6}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
{UNBOUND_IN_A_TEST}
  do-not-query-localhost: no
  num-threads: 1
  verbosity: 1
  log-queries: yes
  prefetch: no
  edns-buffer-size: 4096
  max-udp-size: 4096
remote-control:
  control-enable: no
forward-zone:
  name: .
  forward-addr: 127.0.0.1@5300
"
    )
}

/// Settings of BIND that listens on these addresses and writes into a directory of its own.
pub(super) fn bind([v4, v6]: [IpAddr; 2], home: &Path) -> String {
    format!(
        "options {{
  directory \"{}\";
  pid-file none;
  session-keyfile none;
  listen-on {{ {v4}; }};
  listen-on-v6 {{ {v6}; }};
  allow-query {{ any; }};
  allow-recursion {{ any; }};
  recursion yes;
  forward only;
  forwarders {{ 127.0.0.1 port 5300; }};
  dnssec-validation no;
  empty-zones-enable no;
  edns-udp-size 4096;
  max-udp-size 4096;
  max-cache-size 64M;
}};
controls {{ }};
",
        home.display()
    )
}

/// Settings of Knot Resolver that listens on these addresses, and speaks TLS there too. Without its root key and what asks
/// for it: there is no root here.
pub(super) fn knot([v4, v6]: [IpAddr; 2]) -> String {
    format!(
        "net.listen('{v4}', 53, {{ kind = 'dns' }})
net.listen('{v6}', 53, {{ kind = 'dns' }})
net.listen('{v4}', 853, {{ kind = 'tls' }})
net.listen('{v6}', 853, {{ kind = 'tls' }})
net.bufsize(4096)
cache.size = 64 * MB
trust_anchors.remove('.')
for _, name in ipairs({{'priming', 'detect_time_skew', 'detect_time_jump', 'ta_update', \
'ta_signal_query', 'ta_sentinel'}}) do
  if modules.unload then pcall(modules.unload, name) end
end
if not policy then modules.load('policy') end
policy.add(policy.all(policy.FORWARD({{'127.0.0.1@5300'}})))
print('{KNOT_READY}')
"
    )
}
