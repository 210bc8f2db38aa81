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
    /// Whether nothing goes on after the next cut until the test says so.
    holds_after_cut: AtomicBool,
    is_held: AtomicBool,
    goes_on: Notify,
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

    /// The next swap is cut off, and after that nothing is carried any more, until [`Wire::go_on`].
    pub(super) fn cut_and_hold(&self, cut: Cut) {
        self.shared.holds_after_cut.store(true, Ordering::SeqCst);
        self.cut(cut);
    }

    pub(super) async fn wait_until_held(&self) {
        while !self.shared.is_held.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn go_on(&self) {
        self.shared.is_held.store(false, Ordering::SeqCst);
        self.shared.goes_on.notify_waiters();
    }
}

impl Shared {
    fn note_cut(&self) {
        if self.holds_after_cut.swap(false, Ordering::SeqCst) {
            self.is_held.store(true, Ordering::SeqCst);
        }
    }

    async fn wait_while_held(&self) {
        loop {
            let goes_on = self.goes_on.notified();
            if !self.is_held.load(Ordering::SeqCst) {
                return;
            }
            goes_on.await;
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, server: u16, shared: &Shared) -> std::io::Result<()> {
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
                    shared.note_cut();
                    return Ok(());
                }
                shared.wait_while_held().await;
                server.write_all(part).await?;
            }
            length = server.read(&mut answered) => {
                let length = length?;
                if length == 0 {
                    return Ok(());
                }
                if cutting == Some(Cut::BeforeTheAnswer) {
                    // What it says first after the values came is that it is done.
                    shared.note_cut();
                    return Ok(());
                }
                client.write_all(&answered[..length]).await?;
            }
        }
    }
}
