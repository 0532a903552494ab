//! Names of no service as real clients take the answer to them, `refuse` and `nxdomain`: with search
//! lists in glibc, musl and dig, and at a resolver of the client's own, unbound or systemd-resolved.
//! The tables in OPERATING are what this prints.

use std::{
    ffi::OsString,
    fmt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use intune_filter_ebpf::abi::Reason;
use intune_filter_tests::{
    directory::Directory,
    glibc,
    namespace::run,
    process::Process,
    resolver::{ResolverLocation, UNBOUND_IN_A_TEST},
    site::{self, CONFIG, MODES, UNLISTED, WEB, in_mode},
    testbed::{Setup, Testbed},
};

/// The answers to a name of no service that a client can tell apart.
const CHOICES: [&str; 2] = ["refuse", "nxdomain"];

/// Lines of `resolv.conf` by which every name is tried below others first.
const SEARCH: &str = "search corp.test lan.corp.test\noptions ndots:5\n";
/// Lines by which a short name is found below the second.
const SHORT: &str = "search corp.test web.test\n";

/// Time in which a client that does not try again has given up.
const PROMPT: Duration = Duration::from_secs(2);

/// A listed name of a domain that systemd-resolved wants signed: `test` has an exception there.
const SECURE: &str = "www.shop.example";

/// Where a resolver of the client's own answers the client.
const OWN: &str = "127.0.0.53";

/// Longest start of a resolver of the client's own.
const STARTED: Duration = Duration::from_secs(20);

/// What came of a lookup.
struct Outcome {
    found: bool,
    took: Duration,
    /// Questions that the filter has refused.
    refused: u64,
    text: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = if self.found { "found" } else { "not found" };
        let Self { took, refused, text, .. } = self;
        write!(f, "{found} after {} ms, {refused} questions refused ({text})", took.as_millis())
    }
}

/// A testbed, and a resolver on the client.
struct Site {
    // Dropped in this order: the process before its namespace.
    own: Option<Process>,
    testbed: Testbed,
}

impl Site {
    fn create(unlisted: &str) -> Result<Self> {
        let config = CONFIG
            .replace("dns:\n", &format!("dns:\n  unlisted: {unlisted}\n"))
            .replace("\"*.web.test\"", &format!("\"*.web.test\", {SECURE}"));
        let place = Some(ResolverLocation::Gateway);
        let mut setup = Setup { config, place, ..site::setup() };
        // Every third name is an alias, which is another matter.
        setup.records.add("filler.test");
        setup.records.add(SECURE);
        let mut testbed = Testbed::create(&setup)?;
        testbed.filter.start()?;
        Ok(Self { own: None, testbed })
    }

    /// Runs a lookup, which succeeds if `found` says so of what it prints.
    fn look_up(&self, mut command: Command, found: impl Fn(&str) -> bool) -> Result<Outcome> {
        let before = self.testbed.filter.counters()?;
        let started = Instant::now();
        let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
        let took = started.elapsed();
        let text = String::from_utf8_lossy(&output.stdout);
        let counted = self.testbed.filter.counters()?.since(&before);
        Ok(Outcome {
            found: found(&text),
            took,
            refused: counted.get(Reason::DnsUnlisted.as_str()),
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
        })
    }

    /// Looks a name up with a program that reads `resolv.conf`.
    fn by_program(&self, words: &[OsString], lines: &str, name: &str) -> Result<Outcome> {
        let [server, _] = self.testbed.resolver.addresses();
        let words = [words, &[name.into()]].concat();
        let command = glibc::command(&self.testbed, &server.to_string(), lines, &words)?;
        self.look_up(command, has_address)
    }

    /// Looks a name up at the resolver of the client's own.
    fn by_own(&self, name: &str) -> Result<Outcome> {
        let mut command = self.testbed.network.client.command("dig");
        command.args(["+tries=1", "+time=20", "+noall", "+comments", "+answer"]);
        command.arg(format!("@{OWN}")).args([name, "A"]);
        let outcome = self.look_up(command, has_address)?;
        let code = outcome.text.split("status: ").nth(1).and_then(|text| text.split(',').next());
        let text = code.unwrap_or("no answer").to_owned();
        Ok(Outcome { found: outcome.found && text == "NOERROR", text, ..outcome })
    }
}

/// Whether a word of the text is an address of a listed name.
fn has_address(text: &str) -> bool {
    let mut words = text.split_whitespace();
    words.any(|word| word.parse().is_ok_and(|address| !std::net::IpAddr::is_loopback(&address)))
}

/// The programs that read `resolv.conf` themselves, by name.
fn programs(directory: &Directory) -> Result<Vec<(&'static str, Vec<OsString>)>> {
    let source = directory.write("lookup.c", include_str!("lookup.c"))?;
    let musl = directory.path().join("lookup");
    run(Command::new("musl-gcc").arg("-static").arg("-o").arg(&musl).arg(source))?;
    let dig = ["dig", "+search", "+short", "+tries=1", "+time=3"].map(OsString::from);
    Ok(vec![
        ("glibc", ["getent", "ahosts"].map(OsString::from).to_vec()),
        ("musl", vec![musl.into()]),
        ("dig", dig.to_vec()),
    ])
}

#[test]
fn clients_search_on_after_a_name_that_does_not_exist() -> Result<()> {
    for choice in CHOICES {
        let site = Site::create(choice)?;
        for (client, words) in programs(&site.testbed.directory)? {
            let searched = site.by_program(&words, SEARCH, WEB[0])?;
            let short = site.by_program(&words, SHORT, "www")?;
            let none = site.by_program(&words, "", &format!("{UNLISTED}."))?;
            println!("{choice}, {client}, {}: {searched}", WEB[0]);
            println!("{choice}, {client}, www: {short}");
            println!("{choice}, {client}, {UNLISTED}: {none}");
            ensure!(!none.found, "{choice}, {client}: {none}");
            if choice == "nxdomain" {
                ensure!(searched.found && short.found, "{client}: {searched}; {short}");
                ensure!(none.took < PROMPT, "{client}: {none}");
            } else {
                // What the default is chosen by.
                ensure!(!short.found, "{client} searches on after REFUSED: {short}");
            }
        }
    }
    Ok(())
}

/// dig, and glibc where it is told to, ask over TCP.
#[test]
fn clients_take_the_last_answer_of_a_connection() -> Result<()> {
    for mode in MODES {
        let config = in_mode(CONFIG, mode);
        let mut testbed = Testbed::create(&Setup { config, ..site::setup() })?;
        testbed.filter.start()?;
        for server in testbed.resolver.addresses() {
            for (name, status) in [(UNLISTED, "NXDOMAIN"), ("web.test", "NOERROR")] {
                let mut command = testbed.network.client.command("dig");
                command.args(["+tcp", "+tries=1", "+time=3", &format!("@{server}"), name, "A"]);
                let text = run(&mut command)?;
                let words: Vec<&str> = text.split_whitespace().collect();
                let text = words.join(" ");
                let soa = format!("{name}. 10 IN SOA {name}. nobody.invalid. ");
                let told = [&format!("status: {status},"), "EDE: 15 (Blocked)", &soa]
                    .into_iter()
                    .all(|part| text.contains(part));
                ensure!(told, "{mode}, {server}: {text}");
            }
            let found =
                glibc::getaddrinfo(&testbed, &server.to_string(), "options use-vc\n", WEB[0])?;
            ensure!(found.len() == 2, "{mode}, {server}: {found:?}");
        }
        let counted = testbed.filter.counters()?;
        ensure!(counted.get(Reason::DnsTransport.as_str()) == 0, "{mode}: {counted}");
    }
    Ok(())
}

impl Site {
    /// Starts unbound on the client.
    fn start_unbound(&mut self) -> Result<()> {
        let [server, _] = self.testbed.resolver.addresses();
        let text = format!(
            "server:
  interface: {OWN}
{UNBOUND_IN_A_TEST}
remote-control:
  control-enable: no
forward-zone:
  name: .
  forward-addr: {server}
"
        );
        let file = self.testbed.directory.write("own.conf", &text)?;
        let mut command = self.testbed.network.client.command("unbound");
        let process = Process::spawn("own", command.arg("-d").arg("-c").arg(file))?;
        process.wait_for("start of service", STARTED)?;
        self.own = Some(process);
        Ok(())
    }

    /// Starts systemd-resolved on the client.
    fn start_resolved(&mut self, dnssec: &str) -> Result<()> {
        let [server, _] = self.testbed.resolver.addresses();
        let directory = &self.testbed.directory;
        let users = std::fs::read_to_string("/etc/passwd")?;
        let users = directory
            .write("passwd", &format!("{users}systemd-resolve:x:993:993::/:/usr/sbin/nologin\n"))?;
        let groups = std::fs::read_to_string("/etc/group")?;
        let groups = directory.write("group", &format!("{groups}systemd-resolve:x:993:\n"))?;
        let settings = directory.write(
            "resolved.conf",
            &format!(
                "[Resolve]\nDNS={server}\nFallbackDNS=\nDomains=~.\nDNSSEC={dnssec}\nLLMNR=no\n\
                 MulticastDNS=no\n"
            ),
        )?;
        let script = format!(
            "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd /etc/systemd && \
             touch /etc/systemd/resolved.conf && \
             mount --bind {} /etc/passwd && mount --bind {} /etc/group && \
             mount --bind {} /etc/systemd/resolved.conf && exec {RESOLVED}",
            users.display(),
            groups.display(),
            settings.display()
        );
        let mut command = self.testbed.network.client.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c"]).arg(script);
        self.own = Some(Process::spawn("own", &mut command)?);
        site::eventually("systemd-resolved listens", || {
            let mut probe = self.testbed.network.client.command("dig");
            probe.args(["+tries=1", "+time=1", &format!("@{OWN}"), "localhost", "A"]);
            Ok(probe.output()?.status.success())
        })
    }
}

/// The program of systemd, which not every machine has.
const RESOLVED: &str = "/usr/lib/systemd/systemd-resolved";

#[test]
fn a_resolver_of_the_clients_own_goes_on_after_names_of_no_service() -> Result<()> {
    for choice in CHOICES {
        let mut site = Site::create(choice)?;
        site.start_unbound()?;
        site.check_own(&format!("{choice}, unbound"), choice)?;
        if !Path::new(RESOLVED).exists() {
            println!("there is no {RESOLVED}");
            continue;
        }
        for dnssec in ["no", "allow-downgrade", "yes"] {
            let mut site = Site::create(choice)?;
            site.start_resolved(dnssec)?;
            site.check_own(&format!("{choice}, systemd-resolved, DNSSEC={dnssec}"), choice)?;
        }
    }
    Ok(())
}

impl Site {
    /// Looks names up at the resolver of the client's own: a listed one, one of no service twice, one
    /// above a listed one, and that.
    fn check_own(&self, what: &str, choice: &str) -> Result<()> {
        let mut found = Vec::new();
        for name in [WEB[0], UNLISTED, UNLISTED, "web.test", WEB[1], SECURE] {
            let outcome = self.by_own(name)?;
            println!("{what}, {name}: {outcome}");
            found.push(outcome);
        }
        let [first, none, again, above, last, ..] = &found[..] else {
            bail!("six names were looked up")
        };
        ensure!(first.found && last.found, "{what}: {first}; {last}");
        ensure!(!none.found && !again.found && !above.found, "{what}: {none}; {again}; {above}");
        if choice == "nxdomain" {
            // Remembered, so that the filter is not asked again.
            ensure!(none.text == "NXDOMAIN" && again.refused == 0, "{what}: {none}; {again}");
            ensure!(above.text == "NOERROR", "{what}: {above}");
        }
        Ok(())
    }
}
