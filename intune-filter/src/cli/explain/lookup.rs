//! Asks the resolvers of a policy for a name, to see what their answers would teach.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::names::resolution::{
    Kind, Question,
    dns_client::{DnsClient, Response},
};

/// Time limit for all answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// Time that other resolvers have once one says that there is no such name.
const OTHERS: Duration = Duration::from_millis(300);

/// Answers of resolvers.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookup {
    /// Messages, one for each record type.
    pub messages: Vec<Vec<u8>>,
    /// Whether a resolver says that there is no such name.
    pub is_nowhere: bool,
    /// Failures, where no resolver has answered.
    pub failures: Vec<String>,
}

/// Asks all resolvers at once, for one record type after the other.
pub(super) fn ask(resolvers: &[IpAddr], name: &str, kinds: &[Kind]) -> Lookup {
    let mut lookup = Lookup::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            lookup.failures.push(error.to_string());
            return lookup;
        }
    };
    let name: Arc<str> = name.into();
    for kind in kinds {
        let question = Question { kind: *kind, name: Arc::clone(&name) };
        runtime.block_on(ask_all(resolvers, question, &mut lookup));
    }
    lookup.failures.dedup();
    lookup
}

/// Waits for the first answer with records. A resolver that knows no such name is believed if none of the
/// others answers soon.
async fn ask_all(resolvers: &[IpAddr], question: Question, lookup: &mut Lookup) {
    let mut client = DnsClient::default();
    resolvers.iter().for_each(|resolver| client.ask(question.clone(), *resolver));
    let mut failures = Vec::new();
    let (mut deadline, mut is_nowhere) = (Instant::now() + PATIENCE, false);
    for _ in resolvers {
        match tokio::time::timeout_at(deadline, client.next()).await {
            Ok((_, Response::Message(message))) => {
                lookup.messages.push(message);
                return;
            }
            Ok((_, Response::NoSuchName)) => {
                is_nowhere = true;
                deadline = deadline.min(Instant::now() + OTHERS);
            }
            Ok((_, Response::Refused(why) | Response::Silence(why))) => failures.push(why),
            Err(_) => break,
        }
    }
    lookup.is_nowhere |= is_nowhere;
    if !is_nowhere && failures.is_empty() {
        failures.push(format!("no answer within {} s", PATIENCE.as_secs()));
    }
    if !is_nowhere {
        lookup.failures.extend(failures);
    }
}
