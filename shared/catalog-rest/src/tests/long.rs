//! Answers that are longer than may be read.

use std::net::SocketAddr;

use icepress_catalog::{Catalog as _, CatalogError};
use icepress_model::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::servers::{connect, table};

/// A server that answers each request with `body`, in chunks or with its length said before.
async fn serve(body: String, in_chunks: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 16 << 10];
            let _ = stream.read(&mut request).await;
            let (length, content) = match in_chunks {
                true => (
                    "transfer-encoding: chunked".to_owned(),
                    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
                ),
                false => (format!("content-length: {}", body.len()), body.clone()),
            };
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{length}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(content.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn c57_no_more_of_a_table_is_read_than_there_is_memory_for() {
    // The server's configuration and any table of it: no table, but it is told apart from one that is too long.
    let body = format!(
        r#"{{"defaults":{{}},"overrides":{{}},"padding":"{}"}}"#,
        "x".repeat(50_000)
    );
    let all = Bytes(body.len() as u64);
    for in_chunks in [false, true] {
        let address = serve(body.clone(), in_chunks).await;
        let uri = format!("http://{address}");
        let catalog = connect(&[("type", "rest"), ("uri", &uri)]);
        let most = Bytes(all.get() - 1);
        let refused = catalog.load_up_to(&table("long"), most).await.unwrap_err();
        assert!(
            matches!(refused, CatalogError::TooLarge { most: said, .. } if said == most),
            "{refused}"
        );
        let read = catalog.load_up_to(&table("long"), all).await.unwrap_err();
        assert!(!matches!(read, CatalogError::TooLarge { .. }), "{read}");
    }
}
