use icepress_service::LogObserver;

use super::*;

fn metrics() -> Arc<MetricsObserver> {
    let ambient = Ambient::system();
    Arc::new(MetricsObserver::before(Arc::new(LogObserver), ambient))
}

#[test]
fn one_page_is_told_to_who_asks_for_it_and_nothing_else() {
    let metrics = metrics();
    let page = respond("GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n", &metrics);
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(
        head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{head}"
    );
    assert!(
        head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
        "{head}"
    );
    assert!(
        body.ends_with('\n') && body.starts_with("# HELP icepress_"),
        "{body}"
    );

    let head_alone = respond("HEAD /metrics HTTP/1.1\r\n\r\n", &metrics);
    assert_eq!(head_alone, format!("{head}\r\n\r\n"));
    for (asked, status) in [
        ("GET / HTTP/1.1", "404"),
        ("GET /metrics/more HTTP/1.1", "404"),
        ("POST /metrics HTTP/1.1", "405"),
        ("", "405"),
    ] {
        let answer = respond(&format!("{asked}\r\n\r\n"), &metrics);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{asked}: {answer}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_ends_a_request_keeps_nobody_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(answer_all(listener, metrics(), Ambient::system()));
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(b"GET /metrics HTT").await.unwrap();

    let mut asking = TcpStream::connect(address).await.unwrap();
    let request = b"GET /metrics?x=1 HTTP/1.0\r\n\r\n";
    asking.write_all(request).await.unwrap();
    let mut answer = String::new();
    asking.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    serving.abort();
}
