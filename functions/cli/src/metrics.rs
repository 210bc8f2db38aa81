//! Metrics of a run for Prometheus: the least of a web server, which has one page.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use icepress_metrics::{MetricsObserver, prometheus};
use icepress_model::ambient::Ambient;
use icepress_service::Context;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::failure::Failure;

/// Who asks for longer, or for more than this, gets no answer.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_REQUEST: usize = 8 << 10;
/// Who asks at once; others wait for their turn.
const AT_ONCE: usize = 8;

/// From now on what happens is counted, and told to who asks at `address`, for as long as this process lives.
pub(crate) async fn tell(
    context: &mut Context,
    address: SocketAddr,
) -> Result<Arc<MetricsObserver>, Failure> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::Use(format!("--metrics {address}: {error}")))?;
    let next = Arc::clone(&context.observer);
    let metrics = Arc::new(MetricsObserver::before(next, context.ambient.clone()));
    context.observer = Arc::clone(&metrics) as _;
    tokio::spawn(answer_all(
        listener,
        Arc::clone(&metrics),
        context.ambient.clone(),
    ));
    Ok(metrics)
}

async fn answer_all(listener: TcpListener, metrics: Arc<MetricsObserver>, ambient: Ambient) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // There are no more connections to be had now.
            ambient.clock.sleep(Duration::from_secs(1)).await;
            continue;
        };
        let (metrics, ambient) = (Arc::clone(&metrics), ambient.clone());
        tokio::spawn(async move {
            let _turn = turn;
            tokio::select! {
                // Who hangs up does not wait for the answer.
                _ = answer(stream, &metrics) => {}
                () = ambient.clock.sleep(LONGEST_WAIT) => {}
            }
        });
    }
}

async fn answer(mut stream: TcpStream, metrics: &MetricsObserver) -> io::Result<()> {
    let Some(head) = read_head(&mut stream).await? else {
        return Ok(());
    };
    let response = respond(&head, metrics);
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// The request up to its empty line; what comes after is none of ours. `None` where it is none.
async fn read_head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    let mut some = [0; 1024];
    while head.len() <= LONGEST_REQUEST {
        let read = stream.read(&mut some).await?;
        head.extend_from_slice(&some[..read]);
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(String::from_utf8(head).ok());
        }
        if read == 0 {
            return Ok(None);
        }
    }
    Ok(None)
}

fn respond(head: &str, metrics: &MetricsObserver) -> String {
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let path = target.split('?').next().unwrap_or("");
    match (method, path) {
        ("GET" | "HEAD", "/metrics") => match prometheus::text(metrics.values()) {
            Ok(text) => whole("200 OK", prometheus::CONTENT_TYPE, &text, method),
            Err(error) => plain("500 Internal Server Error", &error.to_string(), method),
        },
        ("GET" | "HEAD", _) => plain("404 Not Found", "metrics are at /metrics\n", method),
        _ => plain(
            "405 Method Not Allowed\r\nAllow: GET, HEAD",
            "metrics can be asked for\n",
            method,
        ),
    }
}

fn plain(status: &str, text: &str, method: &str) -> String {
    whole(status, "text/plain; charset=utf-8", text, method)
}

fn whole(status: &str, content_type: &str, text: &str, method: &str) -> String {
    let body = if method == "HEAD" { "" } else { text };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        text.len()
    )
}

#[cfg(test)]
mod tests;
