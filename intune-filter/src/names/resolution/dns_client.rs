//! Asks resolvers over UDP, and over TCP if an answer is truncated.
//!
//! The one module that uses the DNS library. It makes sure that a message answers the question;
//! [`crate::names::learning`] reads the addresses with the kernel's code. Over UDP each question
//! has a random port, id and order of upper and lower case of its own.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use hickory_net::{
    NetError,
    proto::{
        op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode},
        rr::{Name, RecordType},
    },
    runtime::TokioRuntimeProvider,
    tcp::TcpClientStream,
    udp::UdpClientStream,
    xfer::{DnsHandle as _, DnsRequestSender as _, FirstAnswer as _},
};
use tokio::task::{Id, JoinSet};

use super::{Kind, Question};

/// Time limit for an answer, over each of UDP and TCP.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Transmissions of a question over UDP at most, and the interval between them.
const TRIES: u8 = 2;
const AGAIN_AFTER_MS: u64 = 2000;

/// Port of DNS.
const PORT: u16 = 53;

/// Result of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Response {
    /// Response to the question, as received.
    Message(Vec<u8>),
    /// Response that the name does not exist (NXDOMAIN).
    NoSuchName,
    /// Error of the resolver, or an answer to another question.
    Refused(String),
    /// No answer: a timeout or a failure of the transport.
    Silence(String),
}

/// Client with the questions in flight.
#[derive(Debug, Default)]
pub(crate) struct DnsClient {
    tasks: JoinSet<Response>,
    questions: HashMap<Id, Question>,
}

impl DnsClient {
    /// Sends a question to a resolver.
    pub(crate) fn ask(&mut self, question: Question, resolver: IpAddr) {
        let task = self.tasks.spawn(ask(question.clone(), resolver));
        self.questions.insert(task.id(), question);
    }

    /// Waits for the next answer; forever if no question is in flight.
    pub(crate) async fn next(&mut self) -> (Question, Response) {
        loop {
            let Some(ended) = self.tasks.join_next_with_id().await else {
                std::future::pending().await
            };
            let (id, answer) = match ended {
                Ok(ended) => ended,
                Err(error) => (error.id(), Response::Silence(error.to_string())),
            };
            if let Some(question) = self.questions.remove(&id) {
                return (question, answer);
            }
        }
    }
}

async fn ask(question: Question, resolver: IpAddr) -> Response {
    let kind = match question.kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Https => RecordType::HTTPS,
    };
    let name = match Name::from_ascii(&question.name) {
        Ok(mut name) => {
            name.set_fqdn(true);
            name
        }
        Err(error) => return Response::Refused(format!("no name: {error}")),
    };
    let query = Query::query(name, kind);
    let response = match over_udp(&query, resolver).await {
        Ok(response) if response.truncation => over_tcp(&query, resolver).await,
        // The resolver does not keep the letters' case: over TCP an answer is hard to forge without
        // it.
        Err(NetError::QueryCaseMismatch) => over_tcp(&query, resolver).await,
        other => other,
    };
    match response {
        Ok(response) => read(&query, &response),
        Err(error) => Response::Silence(format!("{resolver}: {error}")),
    }
}

fn read(query: &Query, response: &DnsResponse) -> Response {
    if response.queries != [query.clone()] {
        return Response::Refused("answers another question".to_owned());
    }
    match response.response_code {
        ResponseCode::NoError => Response::Message(response.as_buffer().to_vec()),
        ResponseCode::NXDomain => Response::NoSuchName,
        code => Response::Refused(code.to_string()),
    }
}

fn options() -> DnsRequestOptions {
    let mut options = DnsRequestOptions::default();
    options.use_edns = true;
    options.recursion_desired = true;
    options
}

async fn over_udp(query: &Query, resolver: IpAddr) -> Result<DnsResponse, NetError> {
    let server = (resolver, PORT).into();
    let mut stream = UdpClientStream::builder(server, TokioRuntimeProvider::new())
        .with_timeout(Some(ANSWER_TIMEOUT))
        .with_max_retries(TRIES)
        .with_retry_interval_floor(AGAIN_AFTER_MS)
        .build();
    let mut options = options();
    options.case_randomization = true;
    stream.send_message(DnsRequest::from_query(query.clone(), options)).first_answer().await
}

async fn over_tcp(query: &Query, resolver: IpAddr) -> Result<DnsResponse, NetError> {
    // The background task of the connection ends with the provider's last clone.
    let provider = TokioRuntimeProvider::new();
    let server = (resolver, PORT).into();
    let connection =
        TcpClientStream::exchange(server, None, ANSWER_TIMEOUT, None, provider.clone()).await?;
    connection.send(DnsRequest::from_query(query.clone(), options())).first_answer().await
}
