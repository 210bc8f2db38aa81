//! A wire to PostgreSQL that can be cut in the middle of a swap.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

/// Where to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The statement never reaches the server.
    BeforeItArrives,
    /// The server has carried it out, and its answer is lost.
    BeforeTheAnswer,
}

/// Only a swap's values have this in them.
const MARK: &[u8] = b".metadata.json";

#[derive(Debug, Default)]
struct Shared {
    planned: Mutex<Option<Cut>>,
    was_cut: Notify,
    is_held: AtomicBool,
    let_in: Notify,
}

/// The wire; gone when dropped.
#[derive(Debug)]
pub(super) struct Wire {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Wire {
    pub(super) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let connections = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&connections);
                // A connection that breaks is its ends' to notice.
                tokio::spawn(async move { carry(client, server, &shared).await.ok() });
            }
        });
        Self { port, shared, task }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The next swap is cut off.
    pub(super) fn cut(&self, cut: Cut) {
        *self.shared.planned.lock().unwrap() = Some(cut);
    }

    pub(super) fn hold_new_connections(&self) {
        self.shared.is_held.store(true, Ordering::SeqCst);
    }

    pub(super) async fn wait_until_cut(&self) {
        self.shared.was_cut.notified().await;
    }

    pub(super) fn let_connections_in(&self) {
        self.shared.is_held.store(false, Ordering::SeqCst);
        self.shared.let_in.notify_waiters();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, server: u16, shared: &Shared) -> std::io::Result<()> {
    loop {
        let let_in = shared.let_in.notified();
        if !shared.is_held.load(Ordering::SeqCst) {
            break;
        }
        let_in.await;
    }
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    let (mut asked, mut answered) = (vec![0; 65536], vec![0; 65536]);
    let mut cutting = None;
    loop {
        tokio::select! {
            length = client.read(&mut asked) => {
                let length = length?;
                if length == 0 {
                    return Ok(());
                }
                let part = &asked[..length];
                if part.windows(MARK.len()).any(|window| window == MARK) {
                    cutting = shared.planned.lock().unwrap().take();
                }
                if cutting == Some(Cut::BeforeItArrives) {
                    shared.was_cut.notify_one();
                    return Ok(());
                }
                server.write_all(part).await?;
            }
            length = server.read(&mut answered) => {
                let length = length?;
                if length == 0 {
                    return Ok(());
                }
                if cutting == Some(Cut::BeforeTheAnswer) {
                    // What it says first after the values came is that it is done.
                    shared.was_cut.notify_one();
                    return Ok(());
                }
                client.write_all(&answered[..length]).await?;
            }
        }
    }
}
