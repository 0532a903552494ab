//! Tests server and client against each other.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::Path,
    time::Duration,
};

use nix::unistd::Pid;
use tokio::sync::mpsc;

use super::{
    server::{CONNECTIONS, LINE_TIMEOUT},
    *,
};
use crate::report::{Changed, Confirmed, SCHEMA};

fn with_daemon<T>(reply: Reply, test: impl FnOnce(&Path) -> T + Send) -> T
where
    T: Send,
{
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (sender, mut calls) = mpsc::channel::<Call>(1);
    let server = {
        let _guard = runtime.enter();
        Server::bind(directory.path()).unwrap()
    };
    std::thread::scope(|scope| {
        let client = scope.spawn(|| test(directory.path()));
        runtime.block_on(async {
            tokio::spawn(server.serve(sender));
            while !client.is_finished() {
                tokio::select! {
                    call = calls.recv() => {
                        let call = call.unwrap();
                        let _ = call.reply.send(LoopReply::Reply(reply.clone()));
                        assert!(call.written.await.is_err(), "nothing is ever sent");
                    }
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                }
            }
        });
        client.join().unwrap()
    })
}

fn confirmed() -> Confirmed {
    Confirmed {
        schema: SCHEMA,
        file: "a.yaml".into(),
        generation: 3,
        digest: "d".into(),
        overrides_file: false,
    }
}

#[test]
fn a_question_gets_its_answer() {
    let answer: Confirmed = with_daemon(Reply::Confirmed(confirmed()), |directory| {
        let client = Client::connect(directory).unwrap();
        assert_eq!(client.daemon().unwrap(), Pid::this());
        client.ask(&Request::Confirm {}, LINE_TIMEOUT).unwrap()
    });
    assert_eq!(answer, confirmed());
}

#[test]
fn an_answer_to_another_question_is_an_error() {
    with_daemon(Reply::Confirmed(confirmed()), |directory| {
        let client = Client::connect(directory).unwrap();
        let error = client.ask::<Changed>(&Request::Reload {}, LINE_TIMEOUT).unwrap_err();
        assert_eq!(error.downcast::<Unexpected>().unwrap(), Unexpected);
    });
}

#[test]
fn a_no_is_an_error_and_nonsense_is_answered() {
    with_daemon(Reply::Error { error: "not now".into(), invalid: false }, |directory| {
        let client = Client::connect(directory).unwrap();
        let error = client.ask::<NothingFiltered>(&Request::Detach {}, LINE_TIMEOUT).unwrap_err();
        assert!(error.to_string().contains("not now"), "{error}");

        let mut stream = UnixStream::connect(directory.join(SOCKET_NAME)).unwrap();
        stream.write_all(b"nonsense\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let Reply::Error { error, invalid: false } = reply_of(&text).unwrap() else {
            panic!("{text}");
        };
        assert!(error.starts_with("bad request: "), "{error}");
    });
}

#[test]
fn an_invalid_configuration_is_told_from_other_failures() {
    let text = "a.yaml:3: dns: missing\na.yaml:4: x: unknown key";
    let reply = Reply::Error { error: text.into(), invalid: true };
    with_daemon(reply, |directory| {
        let request = Request::Apply {
            file: "a.yaml".into(),
            text: "line\n".repeat(100_000),
            confirm_s: Some(60),
            dry_run: false,
        };
        let client = Client::connect(directory).unwrap();
        let error = client.ask::<Changed>(&request, LINE_TIMEOUT).unwrap_err();
        assert_eq!(error.downcast::<Invalid>().unwrap(), Invalid(text.into()));
    });
}

#[test]
fn only_root_may_ask_and_a_second_daemon_is_refused() {
    with_daemon(Reply::Detached(NothingFiltered {}), |directory| {
        let mode = fs::metadata(directory.join(SOCKET_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        let error = Server::bind(directory).unwrap_err().to_string();
        assert!(error.contains("another daemon"), "{error}");
    });
}

#[test]
fn connections_are_bounded_and_one_too_many_is_told_so() {
    with_daemon(Reply::Detached(NothingFiltered {}), |directory| {
        let connect = || UnixStream::connect(directory.join(SOCKET_NAME)).unwrap();
        // These connections stay silent until their time limit.
        let mut silent: Vec<_> = (0..CONNECTIONS).map(|_| connect()).collect();
        let ask = || {
            let client = Client::connect(directory).unwrap();
            client.ask::<NothingFiltered>(&Request::Detach {}, LINE_TIMEOUT)
        };
        let error = ask().unwrap_err().to_string();
        assert!(error.contains("64 commands are being answered already"), "{error}");
        silent.pop();
        while ask().is_err() {}
    });
}

#[test]
fn a_dead_daemons_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    drop(std::os::unix::net::UnixListener::bind(directory.path().join(SOCKET_NAME)).unwrap());
    assert!(Client::connect(directory.path()).is_none());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    drop(Server::bind(directory.path()).unwrap());
    assert!(!directory.path().join(SOCKET_NAME).exists());
}
