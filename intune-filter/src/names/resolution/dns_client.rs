//! Asks resolvers, over UDP and where an answer does not fit over TCP.
//!
//! The one place that knows the DNS library. What it makes sure of is that a message is an answer
//! to the question; what that teaches is for [`crate::names::learning`] to say, by the code that the
//! kernel has. Over UDP each question has a port, an id and an order of upper and lower case of its
//! own, at random.

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

/// How long an answer may take, over each of UDP and TCP.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a question is sent over UDP at most, and how long after the time before.
const TRIES: u8 = 2;
const AGAIN_AFTER_MS: u64 = 2000;

/// Port of DNS.
const PORT: u16 = 53;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An answer to the question, as it was received.
    Message(Vec<u8>),
    /// An answer that says that there is no such name.
    NoSuchName,
    /// The resolver did not resolve it.
    Refused(String),
    /// Nothing.
    Silence(String),
}

/// Questions that are under way.
#[derive(Debug, Default)]
pub struct DnsClient {
    tasks: JoinSet<Answer>,
    questions: HashMap<Id, Question>,
}

impl DnsClient {
    /// Sends a question.
    pub fn ask(&mut self, question: Question, resolver: IpAddr) {
        let task = self.tasks.spawn(ask(question.clone(), resolver));
        self.questions.insert(task.id(), question);
    }

    /// Waits for the next answer; for ever if nothing is under way.
    pub async fn next(&mut self) -> (Question, Answer) {
        loop {
            let Some(ended) = self.tasks.join_next_with_id().await else {
                std::future::pending().await
            };
            let (id, answer) = match ended {
                Ok(ended) => ended,
                Err(error) => (error.id(), Answer::Silence(error.to_string())),
            };
            if let Some(question) = self.questions.remove(&id) {
                return (question, answer);
            }
        }
    }
}

async fn ask(question: Question, resolver: IpAddr) -> Answer {
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
        Err(error) => return Answer::Refused(format!("no name: {error}")),
    };
    let query = Query::query(name, kind);
    let response = match over_udp(&query, resolver).await {
        Ok(response) if response.truncation => over_tcp(&query, resolver).await,
        // A resolver that does not keep the letters' case: over TCP nobody else can answer.
        Err(NetError::QueryCaseMismatch) => over_tcp(&query, resolver).await,
        other => other,
    };
    match response {
        Ok(response) => read(&query, &response),
        Err(error) => Answer::Silence(format!("{resolver}: {error}")),
    }
}

fn read(query: &Query, response: &DnsResponse) -> Answer {
    if response.queries != [query.clone()] {
        return Answer::Refused("answers another question".to_owned());
    }
    match response.response_code {
        ResponseCode::NoError => Answer::Message(response.as_buffer().to_vec()),
        ResponseCode::NXDomain => Answer::NoSuchName,
        code => Answer::Refused(code.to_string()),
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
    // What serves the connection ends with the last clone.
    let provider = TokioRuntimeProvider::new();
    let server = (resolver, PORT).into();
    let connection =
        TcpClientStream::exchange(server, None, ANSWER_TIMEOUT, None, provider.clone()).await?;
    connection.send(DnsRequest::from_query(query.clone(), options())).first_answer().await
}
