//! Serves the metrics over HTTP to many clients at once, each limited in octets and time, and all
//! together in walks through the tables.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, Version,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HOST, HeaderValue, VARY},
    http::uri::Authority,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::{classic::classic, exposition::Sources};

/// Connections at once; further ones wait.
const CONNECTIONS: usize = 16;

/// Time limit of a connection, from its first octet to its last.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Octets of a request's head at most.
const HEAD_MAX: usize = 8192;

/// Least age of an answer before the tables are read again, as a time and as a multiple of the time
/// that reading took.
const SPACING: Duration = Duration::from_secs(1);
const SHARE: u32 = 10;

/// Pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_secs(1);

/// Content type of OpenMetrics.
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Content type of Prometheus' older format.
const CLASSIC: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Server of the metrics, which can move to another address.
pub(crate) struct MetricsServer {
    cache: Arc<Cache>,
    listening: Option<Listening>,
}

struct Listening {
    wanted: SocketAddr,
    task: JoinHandle<()>,
}

impl MetricsServer {
    /// Returns a server that does not listen yet.
    #[must_use]
    pub(crate) fn new(sources: Sources) -> Self {
        let cache = Cache { sources: Arc::new(sources), last: Arc::default() };
        Self { cache: Arc::new(cache), listening: None }
    }

    /// Listens at an address, or nowhere. The previous address is released once the new one is
    /// bound; beforehand where the two overlap.
    ///
    /// # Errors
    /// The address cannot be bound; the previous one is kept.
    pub(crate) async fn listen(&mut self, address: Option<SocketAddr>) -> Result<()> {
        let before = self.listening.as_ref().map(|listening| listening.wanted);
        let Some(address) = address.filter(|address| before != Some(*address)) else {
            if address.is_none() {
                self.close().await;
            }
            return Ok(());
        };
        let listener = match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                self.bind_in_place(address, before).await
            }
            result => result,
        };
        let listener = listener.with_context(|| format!("no metrics at {address}"))?;
        self.close().await;
        self.serve(listener, address);
        Ok(())
    }

    /// Releases the previous address if it blocks the new one, and binds it again on failure.
    async fn bind_in_place(
        &mut self,
        address: SocketAddr,
        before: Option<SocketAddr>,
    ) -> io::Result<TcpListener> {
        let overlap = |before: &SocketAddr| {
            let any = before.ip().is_unspecified() || address.ip().is_unspecified();
            before.port() == address.port() && any
        };
        let Some(before) = before.filter(overlap) else {
            return Err(io::ErrorKind::AddrInUse.into());
        };
        self.close().await;
        let result = TcpListener::bind(address).await;
        if result.is_err() {
            let listener = TcpListener::bind(before).await?;
            self.serve(listener, before);
        }
        result
    }

    fn serve(&mut self, listener: TcpListener, wanted: SocketAddr) {
        let task = tokio::spawn(accept(listener, Arc::clone(&self.cache)));
        self.listening = Some(Listening { wanted, task });
    }

    async fn close(&mut self) {
        if let Some(Listening { task, .. }) = self.listening.take() {
            task.abort();
            // The socket is closed once the task has ended.
            let _ = task.await;
        }
    }
}

async fn accept(listener: TcpListener, cache: Arc<Cache>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let cache = Arc::clone(&cache);
                tokio::spawn(async move {
                    serve(stream, cache).await;
                    drop(place);
                });
            }
            Err(error) => {
                log::warn!("metrics: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Answers one request. A client that goes away, sends too much or takes too long is dropped
/// silently.
async fn serve(stream: TcpStream, cache: Arc<Cache>) {
    let service = service_fn(|request| {
        let cache = Arc::clone(&cache);
        async move { Ok::<_, Infallible>(answer(&request, &cache).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .keep_alive(false)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let _ = timeout(CLIENT_TIMEOUT, connection).await;
}

async fn answer(request: &Request<Incoming>, cache: &Cache) -> Response<Full<Bytes>> {
    if !is_for_us(request) {
        let text = "expected an IP address, localhost or this machine's name as the host\n";
        return response(StatusCode::MISDIRECTED_REQUEST, text);
    }
    if request.method() != Method::GET {
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, "");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    if request.uri().path() != "/metrics" {
        return response(StatusCode::NOT_FOUND, "");
    }
    match cache.text().await {
        Some(text) => {
            let (text, kind) = if wants_openmetrics(request) {
                (text, OPENMETRICS)
            } else {
                (Bytes::from(classic(&String::from_utf8_lossy(&text))), CLASSIC)
            };
            let mut response = response(StatusCode::OK, text);
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response.headers_mut().insert(VARY, HeaderValue::from_name(ACCEPT));
            response
        }
        None => response(StatusCode::INTERNAL_SERVER_ERROR, ""),
    }
}

/// Whether the client asks for OpenMetrics, and not with the weight of what it does not want.
fn wants_openmetrics<B>(request: &Request<B>) -> bool {
    let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|one| one.to_str().ok());
    accepted.flat_map(|one| one.split(',')).any(|kind| {
        let mut parts = kind.split(';').map(str::trim);
        let is_it = parts
            .next()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        is_it && weight != Some(0.0)
    })
}

fn response(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

/// Whether the request names this machine, rather than a name that others control: by DNS
/// rebinding, a web page could read the answer under its own name.
fn is_for_us<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (None, _) => request.version() == Version::HTTP_10,
        (Some(host), None) => host.to_str().is_ok_and(is_own),
        (Some(_), Some(_)) => false,
    };
    named && request.uri().authority().is_none_or(|authority| is_own(authority.as_str()))
}

/// Whether a host, with or without a port, is an address, `localhost` or this machine's name.
fn is_own(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_machine =
        || crate::kernel::host_name().is_some_and(|machine| name.eq_ignore_ascii_case(&machine));
    !host.contains('@')
        && (address.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || is_machine())
}

/// Last answer, for requests that follow soon.
struct Cache {
    sources: Arc<Sources>,
    last: Arc<Mutex<Option<Scrape>>>,
}

struct Scrape {
    /// Time until which the answer is served.
    good: Instant,
    text: Option<Bytes>,
}

impl Cache {
    /// Returns the metrics; `None` if they cannot be read. One thread at a time reads the tables,
    /// even if its client has gone.
    async fn text(&self) -> Option<Bytes> {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some(scrape) = last.as_ref().filter(|scrape| Instant::now() < scrape.good) {
            return scrape.text.clone();
        }
        let sources = Arc::clone(&self.sources);
        let walk = spawn_blocking(move || {
            let begun = Instant::now();
            let text = sources.text().inspect_err(|error| log::warn!("metrics: {error:#}"));
            let text = text.ok().map(Bytes::from);
            let spacing = SPACING.max(begun.elapsed() * SHARE);
            *last = Some(Scrape { good: Instant::now() + spacing, text: text.clone() });
            text
        });
        walk.await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, uri: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        *request.uri_mut() = uri.parse().unwrap();
        for host in hosts {
            request.headers_mut().append(HOST, host.parse().unwrap());
        }
        request
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        for (accept, openmetrics) in [
            ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", true),
            ("text/plain, Application/OpenMetrics-Text; q=0.3", true),
            ("application/openmetrics-text;q=0, text/plain", false),
            ("text/plain;version=0.0.4", false),
            ("*/*", false),
            ("application/openmetrics-textual", false),
        ] {
            let mut request = request(Version::HTTP_11, "/metrics", &["[::1]"]);
            assert!(!wants_openmetrics(&request));
            request.headers_mut().insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(wants_openmetrics(&request), openmetrics, "{accept}");
        }
    }

    #[test]
    fn hosts_that_nobody_else_decides_about_are_answered() {
        let machine = crate::kernel::host_name().unwrap();
        for host in ["127.0.0.1", "127.0.0.1:9469", "[::1]:9469", "LocalHost:9469", &machine] {
            assert!(is_for_us(&request(Version::HTTP_11, "/metrics", &[host])), "{host}");
        }
        let foreign =
            ["evil.test", "evil.test:9469", "127.0.0.1.evil.test", "a@127.0.0.1", "", "::"];
        for host in foreign {
            assert!(!is_for_us(&request(Version::HTTP_11, "/metrics", &[host])), "{host}");
        }
        assert!(!is_for_us(&request(Version::HTTP_11, "/metrics", &["::1", "evil.test"])));
        assert!(!is_for_us(&request(Version::HTTP_11, "http://evil.test/metrics", &["[::1]"])));
        assert!(is_for_us(&request(Version::HTTP_10, "/metrics", &[])));
        assert!(!is_for_us(&request(Version::HTTP_11, "/metrics", &[])));
    }
}
