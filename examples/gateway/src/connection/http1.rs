//! One connection of HTTP/1: hyper while there is something to do, and nothing but the socket while there is not.
//!
//! hyper keeps 16 KiB of buffers and the room of one exchange for as long as a connection lasts. A client that keeps
//! its connection for a later request needs none of it, and most clients do that most of the time. So a connection that
//! is idle gives up its hyper half, and gets another one when something arrives.

use std::pin::{Pin, pin};

use http_body::Body;
use hyper::{body::Incoming, server::conn::http1::Builder, service::HttpService};
use hyper_util::rt::TokioIo;

use super::{
    drive::{Close, Drive, Ended},
    socket::Socket,
};
use crate::BoxError;

/// The response to a head that does not end in time (RFC 9110 15.5.9).
const TIMED_OUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves one connection until it ends, or is quiet for too long.
///
/// # Errors
///
/// Returns hyper's error if the client breaks off, or does not speak HTTP.
///
/// # Cancel safety
///
/// Dropping the future closes the connection, except for one that has been upgraded.
pub(super) async fn serve<S, B>(
    builder: &Builder,
    mut drive: Drive<'_>,
    mut socket: Socket,
    mut service: S,
) -> hyper::Result<()>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    loop {
        let connection = builder.serve_connection(TokioIo::new(socket), service);
        let mut connection = Box::new(connection.with_upgrades());
        let ended = drive.run(Pin::new(&mut *connection), true, |connection| {
            connection.graceful_shutdown();
            Close::Asked
        });
        let ended = ended.await;
        // An upgrade has taken the socket, so there are none.
        let Some(parts) = connection.into_parts() else {
            return Ok(());
        };
        socket = parts.io.into_inner();
        match ended {
            Ended::Output(output) => {
                socket.close().await;
                return output;
            }
            Ended::Drop => {
                if drive.activity.is_in_head() {
                    socket.write_now(TIMED_OUT);
                }
                socket.end_now();
                return Ok(());
            }
            // Nothing is lost: all exchanges have ended, uploads included, and the client has taken what hyper had to
            // write, so hyper is between two heads.
            Ended::Rest => socket.put_back(&parts.read_buf),
        }
        service = parts.service;
        drop(parts.read_buf);
        let ended = {
            let readable = pin!(socket.readable());
            drive.run(readable, false, |_| Close::Drop).await
        };
        if !matches!(ended, Ended::Output(Ok(()))) {
            socket.close().await;
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use axum::body::Body;
    use http::{Request, Response};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::{Semaphore, watch},
        time::{Instant, sleep},
    };

    use super::super::{
        ClientStream, HeldPlace, OpenedConnection, RawStream, Server, Stage, Upload,
    };
    use crate::options::Options;

    const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    /// Longer than it takes for a connection to rest.
    const PAUSE: Duration = Duration::from_secs(5);

    /// What the service has got.
    type Got = Arc<Mutex<Vec<Request<Upload<hyper::body::Incoming>>>>>;

    /// What a server with the default limits says to a client that says these, with a pause after each, when it closes
    /// the connection, and how many requests it has got by the last pause. Each is answered by its number, and kept
    /// until then, with its body.
    async fn dialogue(says: &[&str]) -> (String, Duration, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (mut reads, mut writes) = client.await.unwrap().into_split();
        let (stream, _) = listener.accept().await.unwrap();
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let (_tell, stage) = watch::channel(Stage::Open);
        let server = Server::new(crate::settings::limits(&Options::default()));
        let got = Got::default();
        let keep = Arc::clone(&got);
        let answer = move |request| async move {
            let mut all = keep.lock().unwrap();
            all.push(request);
            Response::new(Body::from(format!("{};", all.len())))
        };
        let start = Instant::now();
        let serves = async {
            let open = async {
                Ok(OpenedConnection {
                    stream: ClientStream::Raw(RawStream::Tcp(stream)),
                    is_http2: None,
                    place: HeldPlace::new(place, None),
                    answer,
                })
            };
            let _ = server.serve(stage, open).await;
            start.elapsed()
        };
        let talks = async {
            for say in says {
                let _ = writes.write_all(say.as_bytes()).await;
                sleep(PAUSE).await;
            }
            std::mem::take(&mut *got.lock().unwrap()).len()
        };
        let mut heard = Vec::new();
        let (ended, got, _) = tokio::join!(serves, talks, reads.read_to_end(&mut heard));
        (String::from_utf8(heard).unwrap(), ended, got)
    }

    /// The numbers of the requests that were answered.
    fn answers(heard: &str) -> String {
        let bodies = heard
            .split("\r\n\r\n")
            .filter_map(|part| part.split_once(';'));
        bodies.map(|(number, _)| number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_rested_serves_on() {
        let (heard, ended, _) = dialogue(&[GET, GET, "", GET]).await;
        assert_eq!(answers(&heard), "123");
        assert_eq!(ended, PAUSE * 3 + Duration::from_secs(75));
    }

    #[tokio::test(start_paused = true)]
    async fn the_head_of_a_connection_that_has_rested_has_its_time() {
        let (heard, ended, _) = dialogue(&[GET, "GET / ", "HTTP/1.1\r\n", "host: a\r\n"]).await;
        assert_eq!(answers(&heard), "1");
        assert!(heard.contains("HTTP/1.1 408 "), "{heard}");
        assert_eq!(ended, PAUSE + Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_came_with_the_request_before_it_is_not_lost() {
        let (first, second) = GET.split_at(10);
        let (heard, _, _) = dialogue(&[&format!("{GET}{first}"), second]).await;
        assert_eq!(answers(&heard), "12");
    }

    /// Otherwise the rest of the body would be read as a request.
    #[tokio::test(start_paused = true)]
    async fn a_connection_does_not_rest_in_the_middle_of_an_upload() {
        let post = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            GET.len()
        );
        let (heard, _, got) = dialogue(&[&post, GET, GET]).await;
        // The body is kept and not read, so the client's second request is not read either.
        assert_eq!(answers(&heard), "1");
        assert_eq!(got, 1);
    }

    /// As on a machine that is so busy that the thread of a connection gets no turn before the program ends.
    #[tokio::test]
    async fn a_request_that_has_arrived_is_answered_however_late_it_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        client.write_all(GET.as_bytes()).await.unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let (_tell, stage) = watch::channel(Stage::Close);
        let server = Server::new(crate::settings::limits(&Options::default()));
        let open = async {
            Ok(OpenedConnection {
                stream: ClientStream::Raw(RawStream::Tcp(stream)),
                is_http2: None,
                place: HeldPlace::new(place, None),
                answer: async |_| Response::new(Body::from("late")),
            })
        };
        server.serve(stage, open).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("late"), "{answer}");
    }
}
